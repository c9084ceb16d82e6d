#!/bin/sh
# A Debian root of arm64 with edgedet's device install, made on a machine of another kind.
#
#     benchmarks/arm64/root.sh FOLDER            makes FOLDER/root (once), and installs this source tree into it
#
# Needs Linux, root, and Debian's packages: apt install debootstrap qemu-user-static. The kernel is told once how to
# run arm64 programs (binfmt_misc). Wheels are fetched by this machine's pip, for that one: downloads through qemu
# are slow, and its certificates need not be ours.
set -eu
folder=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
release=${DEBIAN_RELEASE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
root=$folder/root

for needed in debootstrap qemu-aarch64-static; do
  command -v $needed >/dev/null || { echo "arm64: $needed is not installed: apt install debootstrap qemu-user-static" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "arm64: making a root needs root" >&2; exit 2; }

binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
# ELF, 64 bits, little-endian, for AArch64 (0xb7). F: the interpreter is opened here, so it need not be in the root.
[ -e $binfmt/qemu-aarch64 ] || printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' > $binfmt/register

in_root() { chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

if [ ! -e "$root/.made" ]; then
  mkdir -p "$folder"
  debootstrap --arch=arm64 --foreign --variant=minbase "$release" "$root" "$mirror"
  in_root /debootstrap/debootstrap --second-stage
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  in_root apt-get update -qq
  in_root apt-get install -y -qq --no-install-recommends python3 python3-venv
  touch "$root/.made"
fi

# The runtimes ask these files what the processor can do. This machine's own would tell of another kind, and ONNX
# Runtime would crash on them; so they tell of a Raspberry Pi 5 (four Cortex-A76, which know dot products).
mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
for core in 0 1 2 3; do
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n' $core
done > "$root/proc/cpuinfo"
for list in possible present online; do echo 0-3 > "$root/sys/devices/system/cpu/$list"; done
for core in 0 1 2 3; do
  place=$root/sys/devices/system/cpu/cpu$core
  mkdir -p "$place/regs/identification" "$place/topology"
  echo 0x00000000414fd0b1 > "$place/regs/identification/midr_el1"
  echo 0 > "$place/topology/physical_package_id"
  echo $core > "$place/topology/core_id"
  printf '%x\n' $((1 << core)) > "$place/topology/thread_siblings"
  echo f > "$place/topology/core_siblings"
done

version=$(in_root python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p "$root/opt/wheels" "$root/opt/src"
"$python" -m pip download --quiet --dest "$root/opt/wheels" --only-binary=:all: --python-version "$version" \
  --implementation cp $(for glibc in 17 27 28 31 34 35 36; do echo "--platform manylinux_2_${glibc}_aarch64"; done) \
  --platform manylinux2014_aarch64 'setuptools>=77' 'numpy>=1.26' 'opencv-python-headless>=4.8' 'onnxruntime>=1.20' 'openvino>=2025.1' 'ncnn>=1.0.20250503'
rm -rf "$root/opt/src" && mkdir "$root/opt/src"
git -C "$here" ls-files -z | (cd "$here" && xargs -0 tar -c --no-recursion) | tar -x -C "$root/opt/src"
[ -x "$root/opt/edgedet/bin/python" ] || in_root python3 -m venv /opt/edgedet
pip="/opt/edgedet/bin/python -m pip install --quiet --no-index --find-links /opt/wheels --disable-pip-version-check"
in_root $pip 'setuptools>=77'
in_root $pip --no-build-isolation --force-reinstall --no-deps /opt/src
in_root $pip --no-build-isolation "/opt/src"
in_root $pip --no-build-isolation "/opt/src[openvino,ncnn]"
