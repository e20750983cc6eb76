"""The folder that serve-dir serves, and the program itself."""

import json
import os
import subprocess
import threading

from client import CDS, EDS, LDS, PATIENCE_S, RDS, Client, require, wait

# What makes a resource of each type valid, and a field that can be given another value.
CHANGED_FIELD = {CDS: "altStatName", LDS: "statPrefix"}


def resource(type_url, name, content="1"):
    """A resource of this name. Another content makes it another resource."""
    if type_url == EDS:
        return {"@type": type_url, "clusterName": name, "policy": {"overprovisioningFactor": 100 + int(content)}}
    if type_url == RDS:
        return {"@type": type_url, "name": name, "internalOnlyHeaders": ["x-" + content]}
    if type_url in CHANGED_FIELD:
        return {"@type": type_url, "name": name, CHANGED_FIELD[type_url]: content}
    return {"@type": type_url, "name": name}


class Server:
    """serve-dir, on a free port."""

    def __init__(self, program, folder):
        self.folder, self.log = folder, []
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0", "--dir", folder],
                                        stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        wait(lambda: self.said("listening on "), "serve-dir does not listen")
        self.address = next(line.split()[-1] for line in self.log if "listening on " in line)

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    def said(self, *parts, since=0):
        return any(all(part in line for part in parts) for line in self.log[since:])

    def until_said(self, *parts, since=0):
        wait(lambda: self.said(*parts, since=since), f"stderr has no line with {parts}")

    def stop(self):
        self.process.terminate()
        require(self.process.wait(PATIENCE_S) == 0, "serve-dir does not end well")
        panics = [line for line in self.log if "panicked" in line]
        require(not panics, f"serve-dir panicked: {panics}")


class Node:
    """One node's file, and clients that call themselves by its name."""

    def __init__(self, server, name, state=None):
        self.server, self.name, self.clients = server, name, []
        self.path = os.path.join(server.folder, f"{name}.json")
        # By type: label of the type, and by name: content, label of the resource.
        self.labels, self.items = {}, {}
        for type_url, names in (state or {}).items():
            self.items[type_url] = {name: ("1", None) for name in names}
        if state is not None:
            self.write()

    def set(self, type_url, *names, content="1", version=None, label=None):
        """Adds or changes resources and writes the file."""
        for name in names:
            self.items.setdefault(type_url, {})[name] = (content, version)
        if label is not None:
            self.labels[type_url] = label
        self.write()

    def remove(self, type_url, *names):
        for name in names:
            del self.items[type_url][name]
        self.write()

    def write(self):
        resources = {}
        for type_url, items in self.items.items():
            listed = resources.setdefault(type_url, {"items": []})
            if type_url in self.labels:
                listed["version"] = self.labels[type_url]
            for name, (content, version) in items.items():
                item = {"name": name, "resource": resource(type_url, name, content)}
                if version is not None:
                    item["version"] = version
                listed["items"].append(item)
        self.write_json({"resources": resources})

    def write_json(self, value):
        self.write_text(json.dumps(value))

    def write_text(self, text):
        """Replaces the file once the server has what its clients sent before: their requests and it race otherwise."""
        for client in self.clients:
            client.settle()
        temporary = f"{self.path}.tmp"
        with open(temporary, "w") as file:
            file.write(text)
        os.replace(temporary, self.path)

    def client(self, variant, service=CDS, **options):
        client = Client(self.server.address, variant, self.name, service, **options)
        self.clients.append(client)
        return client
