#!/usr/bin/env python3
"""Debian 12 packages by version and sha256, taken from archives that drop old versions.

  debian_packages.py fetch PINS.json FOLDER [--strict]   for debian.bzl: FOLDER/<package>.deb for each package of PINS
  debian_packages.py update                              rewrites third_party/*/packages.bzl to what the archive has now

PINS.json is {package: ["version sha256", ...]}, newest first. They are looked for in the machine's own Debian mirror,
if it has one (of any release), in Debian's, and in Debian's snapshot service at the date of SNAPSHOT; what else apt is
set up with plays no part. What no archive has any more is replaced by the archive's present version of the same
upstream version, with a line that says so; --strict refuses that. Exit code 1 with the reason if a package is not to be
had or is another than the pinned one.
"""

import collections
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

# When the archive had the first of each package's pins; `update` renews it.
SNAPSHOT = "20261130T000000Z"

RELEASE = "bookworm"
ARCHITECTURE = "amd64"
PUBLIC = "http://deb.debian.org"
KEYRINGS = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
]
MOST_PINS = 4  # A package's; older ones go.

Pin = collections.namedtuple("Pin", "version sha256")


class Error(Exception):
    """What is told to the user."""


def parse_pins(lines):
    return [Pin(*line.split(" ")) for line in lines]


def upstream(version):
    """The part of a Debian version that is the packaged project's own: 5.4.1 of 1:5.4.1-1+deb12u2."""
    return re.sub(r"^\d+:", "", version).rpartition("-")[0] or re.sub(r"^\d+:", "", version)


class Archive:
    """One place with packages, seen by apt through lists of its own; nothing is installed and no setting is changed.

    sources: lines of a sources.list."""

    def __init__(self, name, sources, folder):
        self.name = name
        self._sources = sources
        self._folder = pathlib.Path(folder).resolve()
        self._updated = False
        self.problem = ""

    def _apt(self, program, *arguments, **kwargs):
        state = self._folder
        options = {
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
            "Dir::Cache": state / "cache",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": state,
            "Dir::State::status": state / "status",
        }
        command = [program, "-q"] + [word for item in options.items() for word in ("-o", "%s=%s" % item)]
        return subprocess.run(command + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, env=dict(os.environ, LC_ALL="C"), **kwargs)

    def _update(self):
        """Downloads the lists. An archive that is out of reach has no packages; `problem` says why."""
        if self._updated:
            return
        self._updated = True
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._folder / folder).mkdir(parents=True)
        (self._folder / "status").write_text("")
        (self._folder / "sources.list").write_text("".join(line + "\n" for line in self._sources))
        self.problem = "\n".join(re.findall(r"^[EW]: .*", self._apt("apt-get", "update").stderr, re.M))

    def pins(self, names):
        """{name: every version that the archive has now, newest first} for the packages of `names`."""
        self._update()
        found = {name: [] for name in names}
        for record in self._apt("apt-cache", "show", *sorted(found)).stdout.split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", record, re.M))
            if fields.get("Package") in found and "SHA256" in fields:
                pin = Pin(fields["Version"], fields["SHA256"])
                if pin not in found[fields["Package"]]:
                    found[fields["Package"]].append(pin)
        return found

    def download(self, packages, folder):
        """packages: {name: Pin}. Writes folder/<name>.deb; apt compares each with the archive's signed lists."""
        with tempfile.TemporaryDirectory(dir=folder) as work:
            wanted = ["%s=%s" % (name, pin.version) for name, pin in sorted(packages.items())]
            result = self._apt("apt-get", "download", *wanted, cwd=work)
            if result.returncode:
                raise Error("apt-get could not download from %s:\n%s" % (self.name, result.stderr))
            for file in pathlib.Path(work).glob("*.deb"):
                file.rename(pathlib.Path(folder) / (file.name.split("_")[0] + ".deb"))


def own_mirrors():
    """(of the main archive, of the security archive) that this machine's apt is set up with; None where it has none.

    Others than Debian's, Docker's for one, end in /debian too, but have other components; a derivative's releases have
    other names."""
    releases = ("stretch|buster|bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable"
                "|experimental|rc-buggy")
    found = {"debian": None, "debian-security": None}
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    for line in listed.stdout.splitlines():
        uri, release, component = line.split(" ")
        uri = uri.rstrip("/")
        url = urllib.parse.urlsplit(uri)
        kind = url.path.rpartition("/")[2]
        if (url.scheme in ("http", "https") and kind in found and component == "main" and
                re.fullmatch("(%s)([-/][a-z-]+)?" % releases, release)):
            found[kind] = found[kind] or uri
    return found["debian"], found["debian-security"]


def debian_archives(folder):
    """In the order in which they are tried."""
    keyring = next((file for file in KEYRINGS if os.path.exists(file)), None)
    if not keyring:
        raise Error("no keyring of Debian's at %s: install the package debian-archive-keyring (Ubuntu has it in "
                    "universe)" % KEYRINGS[0])

    def archive(name, main, security, options=""):
        options = "[arch=%s signed-by=%s%s]" % (ARCHITECTURE, keyring, options)
        return Archive(name, [
            "deb %s %s %s main" % (options, main, RELEASE),
            "deb %s %s %s-updates main" % (options, main, RELEASE),
            "deb %s %s %s-security main" % (options, security, RELEASE),
        ], os.path.join(folder, name.replace(" ", "_")))

    public = (PUBLIC + "/debian", PUBLIC + "/debian-security")
    main, security = own_mirrors()
    own = (main or public[0], security or public[1])
    archives = []
    if own != public:
        archives.append(archive("this machine's mirror of Debian", *own))
    archives.append(archive("Debian's archive", *public))
    # Its lists' dates are over, as they must be.
    old = "https://snapshot.debian.org/archive/%s/" + SNAPSHOT
    archives.append(archive("Debian's snapshot of " + SNAPSHOT, old % "debian", old % "debian-security",
                            " check-valid-until=no"))
    return archives


def _pinned(wanted, archives):
    """{name: (archive, Pin)} of the packages of which an archive has a pinned version."""
    found = {}
    for archive in archives:
        for name, pins in archive.pins(set(wanted) - set(found)).items():
            present = {pin.version: pin for pin in pins}
            pin = next((pin for pin in wanted[name] if pin.version in present), None)
            if pin and present[pin.version] != pin:
                raise Error("Debian package %s %s does not have the pinned content in %s:\n  expected sha256 %s\n"
                            "  found sha256    %s\nThe pin is in third_party/*/packages.bzl."
                            % (name, pin.version, archive.name, pin.sha256, present[pin.version].sha256))
            if pin:
                found[name] = (archive, pin)
        if len(found) == len(wanted):
            break
    return found


def _stand_in(pins, present):
    """(archive, Pin) of the newest of [(archive, its pins)] with a pinned upstream version, or None."""
    wanted = {upstream(pin.version) for pin in pins}
    fitting = [(archive, pin) for archive, there in present for pin in there if upstream(pin.version) in wanted]
    return fitting[0] if fitting else None


def fetch(wanted, archives, folder, strict=False, say=lambda line: print(line, file=sys.stderr)):
    """wanted: {name: [Pin, ...]}, newest first. Writes folder/<name>.deb for each."""
    chosen = _pinned(wanted, archives)
    dropped = set(wanted) - set(chosen)
    present = [(archive, archive.pins(dropped)) for archive in archives] if dropped else []
    gone = []
    for name in sorted(dropped):
        pins = wanted[name]
        there = [(archive, all_pins[name]) for archive, all_pins in present]
        stand_in = None if strict else _stand_in(pins, there)
        if stand_in:
            chosen[name] = stand_in
            say("third_party: no archive has Debian's %s %s any more; %s (sha256 %s), the same upstream version, takes "
                "its place untested. --config=strict refuses that; ./bazelw run //third_party:update pins what is "
                "there."
                % (name, " or ".join(pin.version for pin in pins), stand_in[1].version, stand_in[1].sha256))
        else:
            gone.append("  %s: pinned %s; there is %s" %
                        (name, ", ".join(pin.version for pin in pins),
                         ", ".join(sorted({pin.version for _, pins in there for pin in pins})) or "none"))
    if gone:
        problems = "".join("%s:\n%s\n" % (archive.name, archive.problem) for archive in archives if archive.problem)
        raise Error("no archive has the pinned versions%s of these Debian packages:\n%s\n%s"
                    "python3 third_party/debian_packages.py update pins what the archive has now." %
                    (" (--config=strict)" if strict else " or others of the same upstream version",
                     "\n".join(gone), problems))
    for archive in archives:
        packages = {name: pin for name, (source, pin) in chosen.items() if source is archive}
        if packages:
            archive.download(packages, folder)
    for name, (archive, pin) in sorted(chosen.items()):
        found = subprocess.run(["sha256sum", os.path.join(folder, name + ".deb")], stdout=subprocess.PIPE, check=True,
                               universal_newlines=True).stdout.split(" ")[0]
        if found != pin.sha256:
            raise Error("%s %s from %s does not have the pinned content:\n  expected sha256 %s\n  found sha256    %s"
                        % (name, pin.version, archive.name, pin.sha256, found))


_PACKAGE = re.compile(r'(?P<head>^(?P<indent> *)"(?P<name>[a-z0-9][a-z0-9.+-]+)": \[\n)'
                      r'(?P<pins>(?: +"\S+ [0-9a-f]{64}",\n)+)(?P<tail> *\])', re.M)


def with_present_pins(text, archive, say=print):
    """The text of a packages.bzl with what the archive has now first, what was pinned before after it."""

    there = archive.pins({match["name"] for match in _PACKAGE.finditer(text)})

    def replaced(match):
        before = parse_pins(re.findall('"(.*)"', match["pins"]))
        present = there[match["name"]]
        if not present:
            raise Error("%s has no package %s (any more)\n%s" % (archive.name, match["name"], archive.problem))
        pins = (present + [pin for pin in before if pin not in present])[:MOST_PINS]
        for pin in pins:
            if pin not in before:
                say("%s: %s, new" % (match["name"], pin.version))
        indent = match["indent"] + "    "
        return match["head"] + "".join('%s"%s %s",\n' % (indent, *pin) for pin in pins) + match["tail"]

    return _PACKAGE.sub(replaced, text)


def update(root, archive, say=print):
    """Rewrites the pins under the project's root, and SNAPSHOT of this file."""
    for file in sorted(root.glob("third_party/*/packages.bzl")):
        before = file.read_text()
        after = with_present_pins(before, archive, say)
        if after != before:
            file.write_text(after)
    this = root / "third_party/debian_packages.py"
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT000000Z")
    this.write_text(re.sub('^SNAPSHOT = ".*"$', 'SNAPSHOT = "%s"' % today, this.read_text(), flags=re.M))


def main(arguments):
    try:
        with tempfile.TemporaryDirectory() as work:
            archives = debian_archives(work)
            if arguments == ["update"]:
                root = os.environ.get("BUILD_WORKSPACE_DIRECTORY") or pathlib.Path(__file__).resolve().parent.parent
                update(pathlib.Path(root), archives[0])
            elif len(arguments) in (3, 4) and arguments[0] == "fetch" and arguments[3:] in ([], ["--strict"]):
                pins = json.loads(pathlib.Path(arguments[1]).read_text())
                fetch({name: parse_pins(lines) for name, lines in pins.items()}, archives, arguments[2],
                      strict=arguments[3:] == ["--strict"])
            else:
                print(__doc__, file=sys.stderr)
                return 1
    except Error as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
