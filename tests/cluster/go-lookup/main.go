// Looks one name up as Go programs do, and prints what came of it in one line:
//
//	go-lookup host|ip4|ip6|cname|addr|txt NAME
//	go-lookup srv SERVICE PROTOCOL NAME
//
// Which resolver answers (Go's own or libc's, by cgo) is decided by package net from nsswitch.conf, the
// environment and how the program was built.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

func main() {
	results, err := lookup(os.Args[1:])
	var failure *net.DNSError
	if errors.As(err, &failure) {
		// The text of the error names the server and the resolver's way; its kind must not depend on them.
		fmt.Printf("error notfound=%t timeout=%t\n", failure.IsNotFound, failure.IsTimeout)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-lookup:", err)
		os.Exit(2)
	}
	slices.Sort(results)
	fmt.Println(strings.Join(results, " "))
}

func lookup(words []string) ([]string, error) {
	if len(words) < 2 {
		return nil, errors.New("usage: go-lookup KIND NAME")
	}
	resolver, background := net.DefaultResolver, context.Background()
	name := words[1]
	switch words[0] {
	case "host":
		return resolver.LookupHost(background, name)
	case "ip4", "ip6":
		addresses, err := resolver.LookupIP(background, words[0], name)
		return texts(addresses), err
	case "cname":
		canonical, err := resolver.LookupCNAME(background, name)
		return []string{canonical}, err
	case "addr":
		return resolver.LookupAddr(background, name)
	case "txt":
		return resolver.LookupTXT(background, name)
	case "srv":
		if len(words) != 4 {
			return nil, errors.New("usage: go-lookup srv SERVICE PROTOCOL NAME")
		}
		_, records, err := resolver.LookupSRV(background, words[1], words[2], words[3])
		var results []string
		for _, record := range records {
			results = append(results, fmt.Sprintf("%s:%d", record.Target, record.Port))
		}
		return results, err
	}
	return nil, fmt.Errorf("no kind %q", words[0])
}

func texts(addresses []net.IP) []string {
	var results []string
	for _, address := range addresses {
		results = append(results, address.String())
	}
	return results
}
