// Says which pods the preconditions of Kyverno's rule refuse, by Kyverno's own JMESPath:
//
//	expressions <LINES
//
// LINES are objects as JSON, one in a line: the ClusterPolicy, and pods. Prints `NAME passes` or `NAME is refused` for
// each pod. Looks at the conditions that compare one expression with a value (Equals, NotEquals); the others' operators
// have wildcards, which are Kyverno's and not the library's.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	jmespath "github.com/kyverno/go-jmespath"
)

type condition struct {
	Key      string `json:"key"`
	Operator string `json:"operator"`
	Value    any    `json:"value"`
}

type policy struct {
	Spec struct {
		Rules []struct {
			Preconditions struct{ All []condition }
		}
	}
}

func main() {
	var conditions []condition
	var pods []map[string]any
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var object map[string]any
		must(json.Unmarshal(lines.Bytes(), &object))
		if object["kind"] == "Pod" {
			pods = append(pods, object)
			continue
		}
		var rules policy
		must(json.Unmarshal(lines.Bytes(), &rules))
		for _, rule := range rules.Spec.Rules {
			conditions = append(conditions, rule.Preconditions.All...)
		}
	}
	must(lines.Err())
	for _, pod := range pods {
		verdict := "passes"
		for _, condition := range conditions {
			if refuses(condition, pod) {
				verdict = "is refused"
			}
		}
		fmt.Println(pod["metadata"].(map[string]any)["name"], verdict)
	}
}

// refuses evaluates one condition; keys of several expressions are left out.
func refuses(condition condition, pod map[string]any) bool {
	equals := condition.Operator == "Equals"
	if !equals && condition.Operator != "NotEquals" || strings.Count(condition.Key, "{{") != 1 {
		return false
	}
	expression := strings.TrimSpace(condition.Key)
	expression = strings.TrimSuffix(strings.TrimPrefix(expression, "{{"), "}}")
	request := map[string]any{"request": map[string]any{"object": pod}}
	found, err := jmespath.Search(expression, request)
	must(err)
	return (fmt.Sprint(found) == fmt.Sprint(condition.Value)) != equals
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "expressions:", err)
		os.Exit(1)
	}
}
