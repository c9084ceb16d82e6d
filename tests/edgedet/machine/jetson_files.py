"""Files of Jetsons as they were seen on boards: release, device tree, packages."""

from __future__ import annotations

from pathlib import Path

KERNEL_VARIANT = (
    "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
    "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia\n"
)
RELEASES = {
    "32.7.1": "# R32 (release), REVISION: 7.1, GCID: 29689809, BOARD: t186ref, EABI: aarch64, DATE: Wed Feb  2 "
    "21:33:23 UTC 2022\n",
    "35.3.1": "# R35 (release), REVISION: 3.1, GCID: 32790763, BOARD: t186ref, EABI: aarch64, DATE: Wed Mar 15 "
    "07:54:12 UTC 2023\n",
    "36.4.0": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64, DATE: Fri Sep 13 "
    f"04:36:44 UTC 2024\n{KERNEL_VARIANT}",
    "36.4.3": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 "
    f"01:49:37 UTC 2025\n{KERNEL_VARIANT}",
    "38.2.0": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n",
    "39.2.0": "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, DATE: Mon Jun  1 "
    f"09:28:48 PM UTC 2026\n{KERNEL_VARIANT}",
    "39.2.1": "# R39 (release), REVISION: 2.1, GCID: 46758480, BOARD: generic, EABI: aarch64, DATE: Fri Aug 7 "
    f"05:54:22 AM UTC 2026\n{KERNEL_VARIANT}",
}
"""/etc/nv_tegra_release, by release of Jetson Linux."""

AGX_ORIN = b"nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"
THOR = b"nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"
"""/proc/device-tree/compatible; Thor's numbers of board and module are made up, its chip is not."""

PACKAGES = {
    "39.2.1": {
        "nvidia-l4t-core": "39.2.1-20260806224157",
        "nvidia-jetpack": "7.2.1-b49",
        "libnvinfer10": "10.16.2.10-1+cuda13.2",
    },
    "36.5.0": {"nvidia-l4t-core": "36.5.0-20260115194252", "libnvinfer10": "10.3.0.30-1+cuda12.5"},
}
"""Versions in /var/lib/dpkg/status, by release of Jetson Linux."""


def write(
    root: Path,
    *,
    release: str | bytes | None = None,
    model: str | None = None,
    compatible: bytes | None = None,
    packages: dict[str, str] | None = None,
) -> Path:
    """A board's files below ``root``; what is None is left out. ``release``: contents of the file."""
    files = {
        "etc/nv_tegra_release": release.encode() if isinstance(release, str) else release,
        "proc/device-tree/model": None if model is None else f"{model}\0".encode(),
        "proc/device-tree/compatible": compatible,
        "var/lib/dpkg/status": None if packages is None else dpkg_status(packages).encode(),
    }
    for name, contents in files.items():
        if contents is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
    return root


def dpkg_status(packages: dict[str, str]) -> str:
    """dpkg's file, with a package that is none of them on both sides."""
    entries = ["Package: bash\nStatus: install ok installed\nVersion: 5.2.21-2ubuntu4\nDescription: shell\n"]
    for name, version in packages.items():
        entries.append(
            f"Package: {name}\nStatus: install ok installed\nPriority: standard\nArchitecture: arm64\n"
            f"Version: {version}\nDescription: NVIDIA's\n Version: of something else\n"
        )
    entries.append("Package: libnvinfer8\nStatus: deinstall ok config-files\nVersion: 8.6.2.3-1+cuda12.2\n")
    return "\n".join(entries)
