# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check --only secureboot: the lab's machine with Secure Boot. OVMF, with Microsoft's keys,
# verifies Debian's shim, which verifies GRUB and the kernel, all as Debian signed them. The modules
# that the lab built are signed with a new key, made and used as DKMS does it. The machine boots twice
# (vm/secureboot): shim does not know the key; then it is in shim's list, where 'mokutil --import' and
# a reboot put it.
#
#	packages-KEY/fs		OVMF, shim, GRUB, and a program that edits OVMF's variables

SECUREBOOT_TOOLS='ovmf shim-signed grub-efi-amd64-signed python3-virt-firmware openssl'

# make_secureboot RELEASE: make what the firmware boots, its variables in unenrolled.fd and
# enrolled.fd, and the signed modules, in /secureboot; runs inside the root
make_secureboot() {
	local boot=/secureboot/esp/EFI/BOOT key=/tmp/mok sign m
	mkdir -p $boot /secureboot/esp/EFI/debian && cp /usr/lib/shim/shimx64.efi.signed $boot/BOOTX64.EFI &&
		cp /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed $boot/grubx64.efi || return 1
	openssl req -new -x509 -nodes -days 36500 -subj '/CN=DKMS module signing key' -newkey rsa:2048 -keyout $key.key \
		-outform DER -out $key.pub && openssl x509 -inform der -in $key.pub -out $key.pem || return 1
	cp /usr/share/OVMF/OVMF_VARS_4M.ms.fd /secureboot/unenrolled.fd &&
		virt-fw-vars --input /secureboot/unenrolled.fd --output /secureboot/enrolled.fd \
			--add-mok 605dab50-e046-4300-abb6-3dd810dd8b23 $key.pem || return 1
	sign=$(compgen -G '/usr/lib/linux-kbuild-*/scripts/sign-file') || return 1
	find "/usr/lib/modules/$1/updates" -name '*.ko' | while read -r m; do
		mkdir -p "/secureboot/signed${m%/*}" && "$sign" sha256 $key.key $key.pub "$m" "/secureboot/signed$m" || return 1
	done
}

# boot_by_shim PARAMETERS: set BOOT_OPTIONS: OVMF loads shim, with the variables of VARIABLES
boot_by_shim() {
	local dir=$LAB_RUN/share/secureboot
	rm -rf "$dir" && mkdir "$dir" && cp -r "$LAB_RUN/secureboot/esp" "$LAB_RUN/secureboot/$VARIABLES.fd" "$dir/" &&
		cp "$LAB_CACHE/$KNAME/vmlinuz" "$LAB_CACHE/$KINITRD/initrd" "$dir/esp/" || return 1
	printf 'linux /vmlinuz %s\ninitrd /initrd\nboot\n' "$1" >"$dir/esp/EFI/debian/grub.cfg"
	BOOT_OPTIONS=(-global "driver=cfi.pflash01,property=secure,value=on"
		-drive "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
		-drive "if=pflash,unit=1,format=raw,file=/lab/run/secureboot/$VARIABLES.fd"
		-drive "if=none,id=esp,format=raw,readonly=on,file=fat:/lab/run/secureboot/esp" -device "virtio-blk-pci,drive=esp,bootindex=1")
}

check_secureboot() {
	local rc=0 BOOT_BY=boot_by_shim BOOT_LAYER VARIABLES
	case $KIMAGE in *-unsigned-*) warn "the archive has Linux $KV only as $KIMAGE, which Debian has not signed"; return 2 ;; esac
	# shellcheck disable=SC2086 # several packages
	packages_ready $SECUREBOOT_TOOLS || return 2
	BOOT_LAYER=$PACKAGES_LAYER
	mkdir -p "$LAB_RUN/secureboot"
	LAB_LAYERS=$LAB_MODULES:$LAB_CACHE/$KNAME/fs:$PACKAGES_LAYER root_mount && root_bind "$LAB_RUN/secureboot" /secureboot || return 2
	step 'secureboot: signing the modules' root_call make_secureboot "$(cat "$LAB_CACHE/$KNAME/release")" || return 2
	root_umount
	LAB_LAYER=$LAB_RUN/secureboot/signed LAB_LIMIT=${LAB_LIMIT:-1800}
	for VARIABLES in unenrolled enrolled; do
		guest /lab/vm-secureboot $VARIABLES || rc=1
		cp "$LAB_LOGS/kernel.log" "$LAB_LOGS/kernel-$VARIABLES.log"
		script_verdict 0 secureboot || rc=1
	done
	return $rc
}
