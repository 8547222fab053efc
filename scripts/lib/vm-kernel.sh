# The kernels of scripts/vm, and which accelerator can boot them; sourced.
# shellcheck shell=bash

CACHE=${SHIM_VM_CACHE:-/var/cache/hookshim-vm}
MACHINE=(-machine q35,usb=off,vmport=off -nodefaults -no-user-config -display none -no-reboot)
# what the initramfs needs to reach this file system, and ports for the output
VM_MODULES=(virtio_pci virtio_console virtio_blk 9pnet_virtio 9p overlay)

# apt_private ARGS...: apt with backports, without a trace in the machine's own sources and lists.
apt_private() {
    local dir=$CACHE/apt program=$1
    shift
    mkdir -p "$dir/lists/partial" "$dir/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main" >"$dir/sources.list"
    "$program" -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir" -o APT::Sandbox::User=root "$@"
}

# newest_image SERIES APT-CACHE...: the generic kernel of a series with the highest ABI number.
newest_image() {
    local series=$1
    shift
    "$@" search --names-only "^linux-image-${series//./\\.}\\.[0-9]+(-[0-9]+|\\+deb[0-9.-]+|\\+bpo)+-amd64\$" | cut -d' ' -f1 |
        sort -V | tail -n 1
}

download_kernel() { # SERIES
    local series=$1 dir=$CACHE/$1 package version
    rm -rf "$dir" "$dir.new"
    mkdir -p "$dir.new"
    cd "$dir.new"
    if [ "$series" = 6.1 ]; then
        package=$(newest_image 6.1 apt-cache)
        [ -n "$package" ] || { apt-get update -q && package=$(newest_image 6.1 apt-cache); }
        apt-get -o APT::Sandbox::User=root download -q "$package" || {
            apt-get update -q && apt-get -o APT::Sandbox::User=root download -q "$(newest_image 6.1 apt-cache)"
        }
    else
        apt_private apt-get update -q
        package=$(newest_image "$series" apt_private apt-cache)
        [ -n "$package" ] || die "no kernel $series in Debian 12 or its backports"
        apt_private apt-get download -q "$package"
    fi
    dpkg -x ./*.deb .
    version=$(basename "$(echo lib/modules/*)")
    depmod -b "$dir.new" "$version"
    mv boot/vmlinuz-* vmlinuz
    mkdir modules
    mv "lib/modules/$version" modules/
    echo "$version" >version
    rm -rf ./*.deb boot lib usr
    cd "$CACHE"
    rm -rf "$CACHE/apt"
    mv "$dir.new" "$dir"
}

# fetch_kernel SERIES: $CACHE/SERIES/{vmlinuz,version,modules,initramfs}
fetch_kernel() {
    local dir=$CACHE/$1 python
    [[ $1 =~ ^[0-9]+\.[0-9]+$ ]] || die "--kernel takes a series such as 6.1, not $1"
    mkdir -p "$CACHE"
    # two at once would unpack into each other
    exec 8>"$CACHE/.lock"
    flock 8
    [ -f "$dir/version" ] || step "fetch Linux $1" download_kernel "$1"
    if [ ! -f "$dir/initramfs" ] || [ -n "$(find "$REPO/scripts/lib" -name 'vm[-_]init*' -newer "$dir/initramfs")" ]; then
        [ -x /bin/busybox ] || die "needs busybox-static"
        python=$(pick_python)
        "$python" "$REPO/scripts/lib/vm_initramfs.py" "$dir/modules/$(cat "$dir/version")" \
            "$REPO/scripts/lib/vm-init" "$dir/initramfs" "${VM_MODULES[@]}"
    fi
    exec 8>&-
}

# One thread for both processors: with one each, qemu 7.2 runs code that another processor has just
# patched (jump labels: cpu.max switches one), and the kernel dies of an int3. Not slower either.
EMULATION="-accel tcg,thread=single,tb-size=512 -cpu max,la57=off"

# pick_accelerator SERIES: qemu's flags. A /dev/kvm that exists may still hang its guests, so it is
# tried: a guest that only powers off, once per boot of this machine.
pick_accelerator() {
    local answer status=0
    answer=$CACHE/kvm-$(cat /proc/sys/kernel/random/boot_id)
    if [ ! -e "$answer" ]; then
        rm -f "$CACHE"/kvm-*
        if [ -w /dev/kvm ]; then
            timeout -s KILL 10 setpriv --pdeathsig KILL qemu-system-x86_64 "${MACHINE[@]}" -accel kvm \
                -cpu host -m 512 -smp 2 -kernel "$CACHE/$1/vmlinuz" -initrd "$CACHE/$1/initramfs" \
                -append "panic=-1 quiet hookshim.probe" >/dev/null 2>&1 </dev/null || status=$?
        else
            status=1
        fi
        echo $status >"$answer"
    fi
    if [ "$(cat "$answer")" = 0 ]; then echo "-accel kvm -cpu host"; else echo "$EMULATION"; fi
}
