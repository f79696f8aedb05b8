#!/usr/bin/env python3
"""Convert the Python 2 sources of autobahntestsuite 25.10.1 + autobahn 0.10.9
to Python 3, into one private directory.

    convert.py AUTOBAHN_SRC TESTSUITE_SRC DEST

The model: in Python 2 a `str` is a byte string, and the test cases lean on
that everywhere ("\\xce\\xba" literals, slicing single bytes, concatenation,
comparing what came back with what was sent).  Instead of turning hundreds of
literals into b"..." one by one, a case's string stays a `str` whose characters
are all in 0..255: one character is one octet (latin-1).  The fuzzing protocol
class converts str -> bytes on everything a case sends and bytes -> str on
everything a case receives.  Source files are re-declared latin-1, so that a
literal holding UTF-8 text has the same octets as it had in Python 2.
Every edit below must match an exact number of times or the conversion stops.
"""
import os
import re
import shutil
import subprocess
import sys

AB_SRC, TS_SRC, DEST = sys.argv[1:4]

SHIM = '''# -*- coding: latin-1 -*-
"""Python 2 `str` semantics (one char = one octet) for the converted suite."""
import binascii as _binascii
import os as _os

from autobahn.websocket.utf8validator import Utf8Validator as _Utf8Validator


def b(x):
    """octet str or bytes -> bytes (anything else unchanged)"""
    return x.encode("latin-1") if isinstance(x, str) else x


def s(x):
    """bytes -> octet str (anything else unchanged)"""
    return bytes(x).decode("latin-1") if isinstance(x, (bytes, bytearray, memoryview)) else x


def text(x):
    """octet str or bytes holding UTF-8 -> readable text, for reports"""
    if x is None:
        return None
    try:
        return b(x).decode("utf-8", "replace")
    except UnicodeEncodeError:
        return x


class binascii:
    @staticmethod
    def b2a_hex(x):
        return _binascii.b2a_hex(b(x)).decode("ascii")

    hexlify = b2a_hex

    @staticmethod
    def a2b_hex(x):
        return s(_binascii.a2b_hex(x))


class pkg_resources:
    @staticmethod
    def resource_filename(package, name):
        return _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), *name.split("/"))


class Utf8Validator:
    def __init__(self):
        self._v = _Utf8Validator()

    def reset(self):
        self._v.reset()

    def validate(self, x):
        return self._v.validate(b(x))
'''

# what the cases send and receive crosses the str/bytes line here
BOUNDARY = '''
   ## ---- Python 3: cases use octet strings, autobahn uses bytes ----
   ##
   def sendFrame(self, opcode, payload = b'', fin = True, rsv = 0, mask = None, payload_len = None, chopsize = None, sync = False):
      return super(FuzzingProtocol, self).sendFrame(opcode, _py2.b(payload), fin, rsv, _py2.b(mask), payload_len, chopsize, sync)

   def sendMessage(self, payload, *args, **kwargs):
      return super(FuzzingProtocol, self).sendMessage(_py2.b(payload), *args, **kwargs)

   def sendMessageFrame(self, payload, *args, **kwargs):
      return super(FuzzingProtocol, self).sendMessageFrame(_py2.b(payload), *args, **kwargs)

   def sendMessageFrameData(self, payload, *args, **kwargs):
      return super(FuzzingProtocol, self).sendMessageFrameData(_py2.b(payload), *args, **kwargs)

   def sendPing(self, payload = None):
      return super(FuzzingProtocol, self).sendPing(_py2.b(payload))

   def sendPong(self, payload = None):
      return super(FuzzingProtocol, self).sendPong(_py2.b(payload))

   def sendCloseFrame(self, code = None, reasonUtf8 = None, isReply = False):
      if isReply and isinstance(reasonUtf8, str):
         reasonUtf8 = reasonUtf8.encode("utf8")   # the peer's reason, already decoded
      return super(FuzzingProtocol, self).sendCloseFrame(code, _py2.b(reasonUtf8), isReply)
   ##
   ## -----------------------------------------------------------------
'''


def read(path):
    with open(path, encoding="latin-1", newline="") as f:
        return f.read().replace("\r\n", "\n")


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="latin-1", newline="\n") as f:
        f.write(data)


class Edit:
    def __init__(self, path):
        self.path, self.data = path, read(path)

    def sub(self, old, new, count=1):
        n = self.data.count(old)
        if n != count:
            sys.exit("convert.py: %s: expected %d x %r, found %d" % (self.path, count, old, n))
        self.data = self.data.replace(old, new)
        return self

    def save(self):
        write(self.path, self.data)


# ---------------------------------------------------------------- autobahn
AB_FILES = ["__init__.py", "_logging.py", "util.py", "twisted/__init__.py", "twisted/util.py",
            "twisted/websocket.py"]
AB_FILES += ["websocket/" + n for n in os.listdir(AB_SRC + "/autobahn/websocket")
             if n.endswith(".py") and n != "compress_snappy.py"]
for n in AB_FILES:
    write(DEST + "/autobahn/" + n, read(AB_SRC + "/autobahn/" + n))

with open(DEST + "/autobahn/twisted/__init__.py", "a") as f:
    f.write("\nimport txaio\ntxaio.use_twisted()\n")

e = Edit(DEST + "/autobahn/twisted/websocket.py")
e.sub("from autobahn.wamp import websocket\n", "")
for n in ("ServerProtocol", "ServerFactory", "ClientProtocol", "ClientFactory"):
    e.sub("    'WampWebSocket%s',\n" % n, "")
e.data = e.data[:e.data.index("class WampWebSocketServerProtocol(")]   # the tail is WAMP only
e.save()

e = Edit(DEST + "/autobahn/websocket/protocol.py")
e.sub("range(payload_len / len(payload))", "range(payload_len // len(payload))")
e.save()

# ------------------------------------------------------------- testsuite
TS_FILES = ["__init__.py", "_version.py", "caseset.py", "choosereactor.py", "echo.py", "fuzzing.py",
            "report.py", "spectemplate.py", "testee.py", "wstest.py"]
TS_FILES += ["case/" + n for n in os.listdir(TS_SRC + "/autobahntestsuite/case") if n.endswith(".py")]
TS_FILES.remove("case/case9_9_1.py")          # defined, but upstream never runs it
P = DEST + "/autobahntestsuite/"
for n in TS_FILES:
    d = read(TS_SRC + "/autobahntestsuite/" + n)
    d = re.sub(r"\A# coding=utf-8\n", "", d)
    write(P + n, "# -*- coding: latin-1 -*-\n" + d)
for n in ("testdata", "web"):
    shutil.copytree(TS_SRC + "/autobahntestsuite/" + n, P + n, dirs_exist_ok=True)

# edits on the Python 2 text, before 2to3 reads it
e = Edit(P + "__init__.py")
e.sub("import broadcast\n", "").sub("import massconnect\n", "").save()

e = Edit(P + "wstest.py")
e.sub("import os, json, sys, pkg_resources\n", "import os, json, sys\n")
e.sub("import broadcast\n", "").sub("import massconnect\n", "").sub("import serializer\n", "").save()

e = Edit(P + "report.py")
e.sub("import jinja2\n", "").sub("from zope.interface import implementer\n", "<CUT>")
e.data = e.data[:e.data.index("<CUT>")]       # the tail is the WAMP report
e.save()

e = Edit(P + "testee.py")
e.sub("      if self.currentCaseId <= self.endCaseId:\n",
      "      if self.endCaseId is not None and self.currentCaseId <= self.endCaseId:\n")
e.sub("   listenWS(factory, sslContext)\n", "   listenWS(factory, sslContext, interface = '127.0.0.1')\n").save()

e = Edit(P + "case/__init__.py")
e.sub("from case9_9_1 import *\n", "").save()

e = Edit(P + "case/case.py")
e.sub("pickle.dumps(obj1) == pickle.dumps(obj2)", "obj1 == obj2").sub("import pickle\n", "").save()

e = Edit(P + "case/case10_1_1.py")
e.sub("len(self.payload) / self.p.autoFragmentSize", "len(self.payload) // self.p.autoFragmentSize").save()

e = Edit(P + "case/case6_x_x.py")
e.sub("from autobahn.websocket.utf8validator import Utf8Validator",
      "from autobahntestsuite._py2 import Utf8Validator")
e.sub("(object, Case, )", "(Case, )").save()

for n in ("case7_7_X", "case7_9_X", "case9_7_X"):
    Edit(P + "case/%s.py" % n).sub("(object, Case, )", "(Case, )").save()

e = Edit(P + "case/case12_x_x.py")
e.sub("(object, Case, )", "(Case, )", 2)
e.sub("import copy, os, pkg_resources, hashlib, binascii\n",
      "import copy, os, hashlib\nfrom autobahntestsuite import _py2\n"
      "from autobahntestsuite._py2 import binascii, pkg_resources\n")
e.sub("def onMessage(self, msg, binary):\n", "def onMessage(self, msg, binary):\n   msg = _py2.b(msg)\n").save()

for n in TS_FILES:
    if n.startswith("case/"):
        d = read(P + n)
        if re.search(r"^import binascii$", d, re.M):
            write(P + n, re.sub(r"^import binascii$", "from autobahntestsuite._py2 import binascii", d, flags=re.M))
        # no other true division, indexing or codec use may hide in a case
        for bad in re.findall(r"^.*(?:\.encode\(|\.decode\(|struct\.|open\(|unichr\(|tostring\().*$", d, re.M):
            if n not in ("case/case12_x_x.py", "case/case6_x_x.py"):
                sys.exit("convert.py: %s: unexpected %r" % (n, bad))

e = Edit(P + "fuzzing.py")
e.sub("import os, json, binascii, time, textwrap, pkg_resources\n",
      "import os, json, time, textwrap\nfrom autobahntestsuite import _py2\n"
      "from autobahntestsuite._py2 import binascii, pkg_resources\n")
e.sub("from twisted.internet import reactor, ssl\n",
      "from twisted.internet import reactor\ntry:\n   from twisted.internet import ssl\n"
      "except ImportError:   # no pyOpenSSL: ws:// only\n   ssl = None\n")
e.sub("            self.contextFactory = ssl.ClientContextFactory()",
      "            self.contextFactory = ssl.ClientContextFactory() if ssl else None")
e.sub("   MAX_WIRE_LOG_DATA = 256\n", "   MAX_WIRE_LOG_DATA = 256\n" + BOUNDARY)
# hex and text previews of payloads
e.sub("         dd = data[:maxlen] + ellipses\n      else:\n         dd = data\n"
      "      return dd.decode('utf8',",
      "         dd = _py2.b(data)[:maxlen] + _py2.b(ellipses)\n      else:\n         dd = _py2.b(data)\n"
      "      return dd.decode('utf8',")
e.sub("p = ''.join(payload)", "p = b''.join(payload)")
# payloads handed to the case
e.sub("         self.runCase.onPong(payload)\n", "         self.runCase.onPong(_py2.s(payload))\n")
e.sub("            log.msg(\"Pong received: \" + payload)", "            log.msg(\"Pong received: \" + _py2.s(payload))")
e.sub("         self.runCase.onMessage(msg, binary)\n", "         self.runCase.onMessage(_py2.s(msg), binary)\n")
# report fields
e.sub('"description": self.Case.DESCRIPTION,', '"description": _py2.text(self.Case.DESCRIPTION),')
e.sub('"localCloseReason": self.localCloseReason,', '"localCloseReason": _py2.text(self.localCloseReason),')
e.sub('"httpRequest": self.http_request_data if', '"httpRequest": _py2.s(self.http_request_data) if')
e.sub('"httpResponse": self.http_response_data if', '"httpResponse": _py2.s(self.http_response_data) if')
e.sub("</p>\\n' % CCase.DESCRIPTION)", "</p>\\n' % _py2.text(CCase.DESCRIPTION))")
e.sub("case[c[0]], c[1])).encode(\"utf-8\"))", "case[c[0]], c[1])))")
e.sub("ll.encode('utf8')", "ll")
e.sub("open(os.path.join(outdir, report_filename), 'w')",
      "open(os.path.join(outdir, report_filename), 'w', encoding = 'utf-8', errors = 'backslashreplace')", 4)
e.sub("webdir.putChild('cwd', curdir)", "webdir.putChild(b'cwd', curdir)")
# an addition: a failed connect is tried again for 10 s before the server counts as gone
# (upstream gives up at once)
e.sub("      proto = FuzzingClientProtocol()\n", "      self.connectFailures = 0\n      proto = FuzzingClientProtocol()\n")
e.sub("   def clientConnectionFailed(self, connector, reason):\n",
      "   def clientConnectionFailed(self, connector, reason):\n"
      "      self.connectFailures = getattr(self, 'connectFailures', 0) + 1\n"
      "      if self.connectFailures <= 20:\n"
      "         reactor.callLater(0.5, connector.connect)\n"
      "         return\n")
# servers listen on the loopback address unless the spec says otherwise
e.sub("   listenWS(factory, sslContext)\n",
      "   interface = str(spec.get('interface', '127.0.0.1'))\n   listenWS(factory, sslContext, interface = interface)\n")
e.sub("reactor.listenSSL(webport, web, sslContext)", "reactor.listenSSL(webport, web, sslContext, interface = interface)")
e.sub("reactor.listenTCP(webport, web)", "reactor.listenTCP(webport, web, interface = interface)")
e.save()

write(P + "_py2.py", SHIM)
subprocess.run([sys.executable, "-W", "ignore", "-m", "fissix", "-w", "-n", "--no-diffs",
                "-j", "1"] + [P + n for n in TS_FILES], check=True,
               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

for root, _, names in os.walk(DEST):
    for n in names:
        if n.endswith(".py"):
            p = os.path.join(root, n)
            with open(p, "rb") as f:
                compile(f.read(), p, "exec")
print("converted into", DEST)
