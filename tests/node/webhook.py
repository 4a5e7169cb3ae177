#!/usr/bin/env python3
"""A mutating webhook that mounts a file of its own on /etc/ld.so.preload of every container, without looking whether
something is mounted there: what some monitoring products do.

    webhook.py ADDRESS PORT CERTIFICATE KEY
"""
import base64
import http.server
import json
import ssl
import sys


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        pod = review["request"]["object"]
        patch = [{"op": "add", "path": "/spec/volumes/-", "value": {"name": "foreign", "configMap": {"name": "foreign"}}}]
        for index, container in enumerate(pod["spec"]["containers"]):
            mount = {"name": "foreign", "mountPath": "/etc/ld.so.preload", "subPath": "ld.so.preload"}
            path = f"/spec/containers/{index}/volumeMounts"
            if container.get("volumeMounts"):
                patch.append({"op": "add", "path": path + "/-", "value": mount})
            else:
                patch.append({"op": "add", "path": path, "value": [mount]})
        response = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


address, port, certificate, key = sys.argv[1:]
server = http.server.ThreadingHTTPServer((address, int(port)), Webhook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
