#!/usr/bin/env python3
"""debian_packages.py with archives made here: which version is taken when the wanted ones come and go."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import debian_packages
from debian_packages import Archive, Error, Pin, fetch, own_mirrors, update, upstream, with_present_pins


def file_name(name, version):
    """As in Debian's pool, without the epoch."""
    return "%s_%s_amd64.deb" % (name, version.rpartition(":")[2])


def make_package(folder, name, version):
    """Writes a package and returns its Pin."""
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Test <test@example.org>\nDescription: test\n"
        % (name, version))
    (root / "version").write_text(version)
    file = folder / file_name(name, version)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(root), str(file)], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    return Pin(version, hashlib.sha256(file.read_bytes()).hexdigest())


class DebianPackagesTest(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = pathlib.Path(work.name)
        self.said = []

    def archive(self, name, packages):
        """An archive with [(package, version)], and {(package, version): Pin}."""
        folder = self.work / name
        folder.mkdir()
        pins, index = {}, ""
        for package, version in packages:
            pin = pins[package, version] = make_package(folder, package, version)
            file = folder / file_name(package, version)
            control = subprocess.run(["dpkg-deb", "-f", str(file)], stdout=subprocess.PIPE, check=True,
                                     universal_newlines=True).stdout
            index += "%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n" % (control, file.name, file.stat().st_size,
                                                                     pin.sha256)
        (folder / "Packages").write_text(index)
        return Archive(name, ["deb [trusted=yes] file:%s ./" % folder], self.work / (name + ".apt")), pins

    def fetched(self, wanted, archives, **kwargs):
        """{package: version in the file that fetch() wrote}."""
        folder = self.work / "fetched"
        folder.mkdir()
        fetch(wanted, archives, folder, say=self.said.append, **kwargs)
        versions = {}
        for file in folder.iterdir():
            versions[file.name] = subprocess.run(["dpkg-deb", "-f", str(file), "Version"], stdout=subprocess.PIPE,
                                                 check=True, universal_newlines=True).stdout.strip()
        return versions

    def test_takes_the_newest_pin_that_is_there(self):
        archive, pins = self.archive("pool", [("a", "1:1.0-1"), ("a", "1:1.0-2"), ("b", "2-1")])
        newest = Pin("1:1.0-3", "0" * 64)
        wanted = {"a": [newest, pins["a", "1:1.0-2"], pins["a", "1:1.0-1"]], "b": [pins["b", "2-1"]]}
        self.assertEqual(self.fetched(wanted, [archive], strict=True), {"a.deb": "1:1.0-2", "b.deb": "2-1"})
        self.assertEqual(self.said, [])

    def test_goes_to_the_next_archive_for_what_the_first_has_dropped(self):
        pool, pins = self.archive("pool", [("a", "1.0-2"), ("b", "2-1")])
        old, old_pins = self.archive("old", [("a", "1.0-1"), ("b", "2-1")])
        wanted = {"a": [old_pins["a", "1.0-1"]], "b": [pins["b", "2-1"]]}
        self.assertEqual(self.fetched(wanted, [pool, old], strict=True), {"a.deb": "1.0-1", "b.deb": "2-1"})

    def test_asks_no_further_archive_when_the_first_has_all(self):
        pool, pins = self.archive("pool", [("a", "1.0-2")])
        unreachable = Archive("unreachable", ["nonsense"], self.work / "unreachable.apt")
        self.fetched({"a": [pins["a", "1.0-2"]]}, [pool, unreachable])
        self.assertFalse((self.work / "unreachable.apt").exists())

    def test_an_archive_out_of_reach_has_nothing(self):
        unreachable = Archive("unreachable", ["deb [trusted=yes] file:%s/nothing ./" % self.work], self.work / "no.apt")
        pool, pins = self.archive("pool", [("a", "1.0-2")])
        self.assertEqual(self.fetched({"a": [pins["a", "1.0-2"]]}, [unreachable, pool]), {"a.deb": "1.0-2"})

    def test_takes_the_same_upstream_version_and_says_so(self):
        pool, pins = self.archive("pool", [("a", "1.0-9+deb12u1"), ("a", "1.1-1")])
        wanted = {"a": [Pin("1.0-3", "0" * 64)]}
        self.assertEqual(self.fetched(wanted, [pool]), {"a.deb": "1.0-9+deb12u1"})
        self.assertEqual(len(self.said), 1)
        self.assertIn("1.0-3", self.said[0])
        self.assertIn("1.0-9+deb12u1 (sha256 %s)" % pins["a", "1.0-9+deb12u1"].sha256, self.said[0])
        self.assertIn("--config=strict", self.said[0])

    def test_strict_takes_no_other_version(self):
        pool, _ = self.archive("pool", [("a", "1.0-9")])
        with self.assertRaisesRegex(Error, r"a: pinned 1\.0-3; there is"):
            self.fetched({"a": [Pin("1.0-3", "0" * 64)]}, [pool, pool], strict=True)

    def test_takes_no_other_upstream_version(self):
        pool, _ = self.archive("pool", [("a", "1.1-1")])
        with self.assertRaisesRegex(Error, r"a: pinned 1\.0-3; there is 1\.1-1(.|\n)*update"):
            self.fetched({"a": [Pin("1.0-3", "0" * 64)]}, [pool, pool])

    def test_refuses_other_content_under_a_pinned_version(self):
        pool, pins = self.archive("pool", [("a", "1.0-1")])
        with self.assertRaisesRegex(Error, r"a 1\.0-1 does not have the pinned content(.|\n)*" +
                                    pins["a", "1.0-1"].sha256):
            self.fetched({"a": [Pin("1.0-1", "0" * 64)]}, [pool])

    def test_refuses_a_file_that_is_not_the_listed_one(self):
        pool, pins = self.archive("pool", [("a", "1.0-1")])
        file = self.work / "pool/a_1.0-1_amd64.deb"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        with self.assertRaises(Error):
            self.fetched({"a": [pins["a", "1.0-1"]]}, [pool])

    def test_upstream(self):
        for version, expected in (("1:2.1.5-2", "2.1.5"), ("5.4.1-1+deb12u2", "5.4.1"), ("3.0", "3.0"),
                                  ("4.0.0-3.20.0-2", "4.0.0-3.20.0"), ("1:7", "7")):
            self.assertEqual(upstream(version), expected)

    def test_update_puts_what_is_there_before_what_was_pinned(self):
        pool, pins = self.archive("pool", [("liba", "1.0-3"), ("liba", "1.0-2"), ("libb", "1-1")])
        folder = self.work / "third_party/a"
        folder.mkdir(parents=True)
        text = ('"""Why."""\n\nPACKAGES = {\n    "liba": [\n        "1.0-2 %s",\n        "1.0-1 %s",\n    ],\n'
                '    "libb": [\n        "1-1 %s",\n    ],\n}\n')
        hashes = (pins["liba", "1.0-2"].sha256, "1" * 64, pins["libb", "1-1"].sha256)
        (folder / "packages.bzl").write_text(text % hashes)
        (self.work / "third_party/debian_packages.py").write_text('A = 1\nSNAPSHOT = "20200101T000000Z"\n')
        update(self.work, pool, say=self.said.append)
        self.assertEqual(self.said, ["liba: 1.0-3, new"])
        expected = text % ("x", "1" * 64, pins["libb", "1-1"].sha256)
        expected = expected.replace('"1.0-2 x"', '"1.0-3 %s",\n        "1.0-2 %s"' % (
            pins["liba", "1.0-3"].sha256, pins["liba", "1.0-2"].sha256))
        self.assertEqual((folder / "packages.bzl").read_text(), expected)
        self.assertRegex((self.work / "third_party/debian_packages.py").read_text(),
                         r'^A = 1\nSNAPSHOT = "20[2-9][0-9][0-9]{4}T000000Z"\n$')

    def test_update_of_a_package_that_is_gone_fails(self):
        pool, _ = self.archive("pool", [("a", "1.0-3")])
        with self.assertRaisesRegex(Error, "no package libc"):
            with_present_pins('"libc": [\n    "1-1 %s",\n]' % ("0" * 64), pool)

    def test_update_finds_every_pin_of_the_project(self):
        asked = []

        class Present:
            def pins(self, names):
                asked.extend(names)
                return {name: [Pin("9-9", "9" * 64)] for name in names}

        files = sorted(pathlib.Path(debian_packages.__file__).parent.glob("*/packages.bzl"))
        self.assertGreater(len(files), 10)
        for file in files:
            text = file.read_text()
            asked.clear()
            after = with_present_pins(text, Present(), say=lambda line: None)
            self.assertEqual(text.count('": ['), len(asked), file)
            self.assertEqual(after.count("9-9"), len(asked), file)

    def test_own_mirror_is_debians_own_alone(self):
        listed = """http://mirror.example.org/mirrors/debian/ trixie main
http://mirror.example.org/mirrors/debian-security/ trixie-security main
"""
        others = """https://example.com/linux/debian/ bookworm stable
http://archive.example.com/ubuntu/ noble main
http://example.com/debian/ noble main
cdrom:[Debian]/ bookworm main
"""
        fake = self.work / "bin/apt-get"
        fake.parent.mkdir()
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = "%s:%s" % (fake.parent, path)
        for lines, expected in ((others + listed, ("http://mirror.example.org/mirrors/debian",
                                                   "http://mirror.example.org/mirrors/debian-security")),
                                (others, (None, None))):
            fake.write_text("#!/bin/sh\ncat <<'END'\n%sEND\n" % lines)
            fake.chmod(0o755)
            self.assertEqual(own_mirrors(), expected)


if __name__ == "__main__":
    unittest.main()
