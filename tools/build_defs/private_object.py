#!/usr/bin/env python3
"""Makes one object of a program of which nothing but its entry can be seen, for tec_multicall_binary.

  private_object.py OBJECT ENTRY INITIALISERS MAIN.a... -- OTHER.a...

OBJECT gets the objects of each MAIN.a and of each OTHER.a that defines an Abseil flag, or uses another such archive.
main() becomes ENTRY; the other functions and variables become local to OBJECT, so that two programs may have flags of
the same name. Shared stay, as one of each name, variables of inline functions, templates and classes: by the address of
such a one Abseil knows a type. The static initialisers, which register flags, are moved to the section INITIALISERS,
where nothing runs them but who asks for it.
"""

import os
import subprocess
import sys
import tempfile

# Letters of nm.
STRONG = set("TDBRSGC")
WEAK_FUNCTION = "W"
UNIQUE_VARIABLE = "u"


def listed(file):
    """(name, letter of its kind) of each symbol that others see or are asked for."""
    output = subprocess.run(["nm", "--format=posix", "--extern-only", file], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, check=True, universal_newlines=True).stdout
    # Lines of one word name the members of an archive.
    return [tuple(words[:2]) for words in (line.split(" ") for line in output.splitlines()) if len(words) > 1]


def symbols(archive):
    """(defined for all to see and not to be merged, undefined)"""
    found = listed(archive)
    return {name for name, kind in found if kind in STRONG}, {name for name, kind in found if kind == "U"}


def private_archives(archives):
    """Those that have to be a program's own."""
    table = {archive: symbols(archive) for archive in archives}
    chosen = [archive for archive in archives if any(name.startswith("FLAGS_") for name in table[archive][0])]
    while True:
        own = set().union(*(table[archive][0] for archive in chosen))
        more = [archive for archive in archives if archive not in chosen and table[archive][1] & own]
        if not more:
            return chosen
        chosen += more


def main(arguments):
    target, entry, initialisers = arguments[:3]
    split = arguments.index("--")
    archives = arguments[3:split] + private_archives(arguments[split + 1:])
    # Without groups, which would be merged between programs by name though their contents differ: the defaults of
    # flags are in such.
    subprocess.run(["ld", "-r", "--force-group-allocation", "-o", target, "--whole-archive"] + archives, check=True)
    found = listed(target)
    hidden = [name for name, kind in found if (kind in STRONG or kind == WEAK_FUNCTION) and name != "main"]
    merged = [name for name, kind in found if kind == UNIQUE_VARIABLE]
    with tempfile.TemporaryDirectory() as work:
        options = []
        for option, names in (("--localize-symbols", hidden), ("--weaken-symbols", merged)):
            if not names:
                continue  # To objcopy an empty file is an error.
            file = os.path.join(work, option[2:])
            with open(file, "w") as lines:
                lines.write("".join(name + "\n" for name in names))
            options += ["%s=%s" % (option, file)]
        # The flags make it plain data; by its type alone the dynamic loader would run it.
        options += ["--redefine-sym", "main=" + entry,
                    "--rename-section", ".init_array=%s,alloc,load,data,contents" % initialisers]
        subprocess.run(["objcopy"] + options + [target], check=True)
    left = subprocess.run(["objdump", "-h", target], stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout
    if ".init_array" in left or ".ctors" in left:
        print("%s: an initialiser with a priority would run in every program" % target, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
