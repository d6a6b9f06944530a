/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Entry and exceptions of vm-guest.c. The boot loader enters in protected mode with 32 bits, without
 * paging, and with interrupts disabled. Its segments are valid until they are loaded, its GDT may be
 * gone.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define CODE		0x08
#define DATA		0x10

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

	.text
	.globl start
start:
	lgdt gdt_pointer
	ljmp $CODE, $1f
1:
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov $stack_end, %esp
	cld
	call guest_main
2:
	hlt
	jmp 2b

/*
 * The handlers of the CPU's 32 exceptions, 16 bytes each. All call exception(vector, error, eip).
 * Exceptions without an error code get 0.
 */
	.balign 16
	.globl exception_handlers
exception_handlers:
	.set vector, 0
	.rept 32
	.balign 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
	push $0
	.endif
	push $vector
	call exception
	.set vector, vector + 1
	.endr

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9a000000ffff /* code: 4 GiB */
	.quad 0x00cf92000000ffff /* data: 4 GiB */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
