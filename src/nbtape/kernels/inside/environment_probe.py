"""Report the environment of a kernel; this file is read as text and run in a kernel, in its own namespace.

Packages are read from the names of their directories, which is 100 times as fast as reading their metadata.
See https://packaging.python.org/en/latest/specifications/recording-installed-packages/ and, for packages that were not
installed from an index, https://packaging.python.org/en/latest/specifications/direct-url/.

It runs on the kernel's Python and must not import nbtape. The result is in `told`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig
import time


def distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except (OSError, AttributeError):
        return platform.mac_ver()[0]


packages, local = {}, []
for place in filter(None, sys.path):
    try:
        names = os.listdir(place)
    except OSError:
        continue
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending in (".dist-info", ".egg-info"):
            package, _, version = stem.partition("-")
            package = package.lower().replace("_", "-").replace(".", "-")
            if package not in packages:
                packages[package] = version.partition("-")[0]
                if os.path.exists(os.path.join(place, name, "direct_url.json")):
                    local.append(package)
told = json.dumps(
    {
        "python": platform.python_version(),
        "platform": " ".join(filter(None, [sysconfig.get_platform(), distribution()])),
        "packages": packages,
        "local": local,
        "directory": os.getcwd(),
        "utc_offset": time.localtime().tm_gmtoff,
    }
)
