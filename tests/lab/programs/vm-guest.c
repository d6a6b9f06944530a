// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The kernel of a virtual machine inside the lab's, to which a VMM has assigned two of the lab's
 * devices. edu copies within the GPU's BAR, peer to peer, before and after typical guest operations
 * on devices. Reports its results on the serial port in TAP, and powers off.
 *
 * A multiboot kernel without an operating system, because Linux takes minutes to boot in a nested
 * emulator. The firmware has numbered the buses and assigned the BARs. Physical memory is not
 * translated. Interrupts stay disabled.
 *
 * It boots twice: the first boot ends with a reset of the machine. The GPU's memory survives the
 * reset, and has a mark after the first boot.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define KIB    1024U
#define MIB    (1024 * KIB)
#define LEN    (4 * KIB) /* of a DMA: all of edu's buffer */
#define MARK   (3 * MIB) /* offset of the mark in the BAR */
#define BOOTED 0x70656572626f6f74ULL

/* edu. */
#define EDU_BUFFER	0x40000
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	1
#define EDU_FROM_BUFFER 2

/* Configuration space. */
#define CONFIG_SIZE	   64 /* of the header, which a reset clears */
#define ID		   0
#define COMMAND		   4
#define COMMAND_MEMORY	   2
#define COMMAND_MASTER	   4
#define COMMAND_NO_INTX	   0x400
#define HEADER_TYPE	   0xe
#define HEADER_TYPE_MASK   0x7f
#define HEADER_TYPE_BRIDGE 1
#define BAR0		   0x10
#define BAR_TYPE	   7 /* in memory, and its width */
#define BAR_64		   4
#define SECONDARY_BUS	   0x19
#define BRIDGE_CONTROL	   0x3e
#define BRIDGE_BUS_RESET   0x40

/* Ports. */
#define CONFIG_ADDRESS	      0xcf8
#define CONFIG_DATA	      0xcfc
#define RESET_CONTROL	      0xcf9
#define RESET_CONTROL_MACHINE 6
#define SERIAL		      0x3f8
#define SERIAL_LINE_CONTROL   3
#define SERIAL_8_BITS	      3
#define SERIAL_LINE_STATUS    5
#define SERIAL_CAN_SEND	      0x20

/* Power management of the q35's ICH9, which is function 00:1f.0. */
#define ICH9		 ((0x1fU << 3) << 8)
#define ICH9_PM_BASE	 0x40
#define PM_CONTROL	 4
#define PM_CONTROL_SLEEP 0x2000 /* of type 0: power off */
#define PM_TIMER	 8
#define PM_TIMER_KHZ	 3580
#define PM_TIMER_MASK	 0xffffff

struct function {
	uint32_t address; /* of its configuration space, in CONFIG_ADDRESS */
	uint32_t port;	  /* that of the root port above it */
	volatile uint8_t *bar;
	uint32_t size;
	unsigned int nr; /* of the BAR */
};

/* An entry of the IDT. */
struct gate {
	uint16_t offset_low, selector, flags, offset_high;
};

struct __attribute__((packed)) idt_pointer {
	uint16_t limit;
	const struct gate *gates;
};

/* In vm-guest-start.S, or called from there. */
#define EXCEPTIONS     32
#define CODE_SEGMENT   8
#define GATE_INTERRUPT 0x8e00
extern const uint8_t exception_handlers[EXCEPTIONS][16];
void guest_main(void) __attribute__((noreturn));
void exception(unsigned int vector, unsigned int error, unsigned int eip) __attribute__((noreturn));

static struct function edu = { .nr = 0 }, gpu = { .nr = 2 };
static unsigned int number;

/* ---- ports ---- */

static void out8(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out16(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static void put(char c)
{
	while (!(in8(SERIAL + SERIAL_LINE_STATUS) & SERIAL_CAN_SEND))
		;
	out8(SERIAL, (uint8_t)c);
}

static void put_number(unsigned int value, unsigned int base)
{
	if (value >= base)
		put_number(value / base, base);
	put("0123456789abcdef"[value % base]);
}

/* %s, %u and %x, without widths. */
static void vprint(const char *fmt, va_list ap)
{
	const char *s;

	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == 's')
			for (s = va_arg(ap, const char *); *s; s++)
				put(*s);
		else
			put_number(va_arg(ap, unsigned int), *fmt == 'x' ? 16 : 10);
	}
}

__attribute__((format(printf, 1, 2))) static void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

/* ---- the machine ---- */

static uint32_t config_read(uint32_t function, unsigned int at)
{
	out32(CONFIG_ADDRESS, 0x80000000 | function | at);
	return in32(CONFIG_DATA);
}

static void config_write(uint32_t function, unsigned int at, uint32_t value)
{
	out32(CONFIG_ADDRESS, 0x80000000 | function | at);
	out32(CONFIG_DATA, value);
}

/* Write 16 bits: the other half of the 32 may have bits that clear when they are written. */
static void config_write16(uint32_t function, unsigned int at, uint16_t value)
{
	out32(CONFIG_ADDRESS, 0x80000000 | function | (at & ~3U));
	out16((uint16_t)(CONFIG_DATA + (at & 2)), value);
}

static uint16_t pm_base(void)
{
	return (uint16_t)(config_read(ICH9, ICH9_PM_BASE) & 0xff80);
}

static void delay_ms(unsigned int ms)
{
	uint16_t timer = (uint16_t)(pm_base() + PM_TIMER);
	uint32_t begin = in32(timer);

	while (((in32(timer) - begin) & PM_TIMER_MASK) < ms * PM_TIMER_KHZ)
		asm volatile("pause");
}

static void __attribute__((noreturn)) halt(void)
{
	for (;;)
		asm volatile("hlt");
}

static void __attribute__((noreturn)) power_off(void)
{
	out16((uint16_t)(pm_base() + PM_CONTROL), PM_CONTROL_SLEEP);
	halt();
}

/* The results lack their plan, so this ends as a failure. */
__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *fmt, ...)
{
	va_list ap;

	print("Bail out! ");
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
	power_off();
}

void exception(unsigned int vector, unsigned int error, unsigned int eip)
{
	give_up("exception %u at 0x%x, error code 0x%x", vector, eip, error);
}

static void catch_exceptions(void)
{
	static struct gate gates[EXCEPTIONS];
	static struct idt_pointer pointer = { .limit = sizeof(gates) - 1, .gates = gates };
	unsigned int i;

	for (i = 0; i < EXCEPTIONS; i++) {
		uint32_t handler = (uint32_t)exception_handlers[i];

		gates[i] = (struct gate){ .offset_low = (uint16_t)handler,
					  .selector = CODE_SEGMENT,
					  .flags = GATE_INTERRUPT,
					  .offset_high = (uint16_t)(handler >> 16) };
	}
	asm volatile("lidt %0" : : "m"(pointer), "m"(gates));
}

static void result(bool good, const char *what)
{
	print("%sok %u - %s\n", good ? "" : "not ", ++number, what);
}

/* ---- functions ---- */

static void set_command(const struct function *f, bool memory)
{
	uint16_t command = (uint16_t)config_read(f->address, COMMAND);

	command |= COMMAND_MASTER | COMMAND_MEMORY;
	if (!memory)
		command &= (uint16_t)~COMMAND_MEMORY;
	config_write16(f->address, COMMAND, command);
}

/* Find a function on @bus, which is below the bridge @port, and on the buses below. */
static void find_on_bus(struct function *f, uint32_t id, uint32_t bus, uint32_t port)
{
	uint32_t devfn;

	for (devfn = 0; devfn < 256; devfn++) {
		uint32_t function = bus << 16 | devfn << 8, found = config_read(function, ID), type;

		if (found == 0xffffffff)
			continue;
		if (found == id) {
			f->address = function;
			f->port = port;
		}
		type = config_read(function, HEADER_TYPE & ~3U) >> 16;
		if ((type & HEADER_TYPE_MASK) == HEADER_TYPE_BRIDGE)
			find_on_bus(f, id, config_read(function, SECONDARY_BUS & ~3U) >> 8 & 0xff,
				    function);
	}
}

static void find(struct function *f, uint32_t vendor, uint32_t device)
{
	find_on_bus(f, device << 16 | vendor, 0, 0);
	if (!f->address)
		give_up("no function %x:%x was assigned", vendor, device);
	if (!f->port)
		give_up("function %x:%x is not below a port", vendor, device);
}

/* Return the BAR's size: write all ones, and restore it. */
static uint32_t bar_size(const struct function *f)
{
	unsigned int at = BAR0 + 4 * f->nr;
	uint32_t old = config_read(f->address, at), size;

	config_write(f->address, at, 0xffffffff);
	size = config_read(f->address, at);
	config_write(f->address, at, old);
	return ~(size & ~15U) + 1;
}

static void map(struct function *f)
{
	unsigned int at = BAR0 + 4 * f->nr;
	uint32_t bar;

	set_command(f, false);
	f->size = bar_size(f);
	set_command(f, true);
	bar = config_read(f->address, at);
	if (!(bar & ~15U))
		give_up("BAR %u has no address", f->nr);
	if ((bar & BAR_TYPE) == BAR_64 && config_read(f->address, at + 4))
		give_up("BAR %u is above 4 GiB", f->nr);
	if (f->size < MIB || (f->size & (f->size - 1)))
		give_up("BAR %u has a size of 0x%x", f->nr, f->size);
	f->bar = (volatile uint8_t *)(bar & ~15U);
}

/* ---- DMA ---- */

/* The upper half of a register is zero after its lower half was written. */
static void edu_write(unsigned int at, uint32_t value)
{
	*(volatile uint32_t *)(volatile void *)(edu.bar + at) = value;
}

static void edu_dma(uint32_t src, uint32_t dst, uint32_t command)
{
	unsigned int i;

	edu_write(EDU_SRC, src);
	edu_write(EDU_DST, dst);
	edu_write(EDU_COUNT, LEN);
	edu_write(EDU_COMMAND, EDU_START | command);
	for (i = 0; *(volatile uint32_t *)(volatile void *)(edu.bar + EDU_COMMAND) & EDU_START;
	     i++) {
		if (i == 1000)
			give_up("edu's DMA does not end");
		delay_ms(10);
	}
}

static uint64_t next_word(uint64_t word)
{
	return word * 6364136223846793005 + 1442695040888963407;
}

/*
 * Copy from the BAR into edu, and from there to the BAR at 1 MiB. Don't compare the words there with
 * those at 0, because all of a BAR reads as ones while decoding is off.
 */
static bool peer_to_peer(void)
{
	static uint64_t seed = 0x9e3779b97f4a7c15;
	volatile uint64_t *from = (volatile void *)gpu.bar, *to = (volatile void *)(gpu.bar + MIB);
	uint32_t address = (uint32_t)gpu.bar;
	uint64_t word = seed;
	unsigned int i, same = 0;

	for (i = 0; i < LEN / 8; i++) {
		word = next_word(word);
		from[i] = word;
		to[i] = ~word;
	}
	edu_dma(address, EDU_BUFFER, 0);
	edu_dma(EDU_BUFFER, address + MIB, EDU_FROM_BUFFER);
	word = seed;
	for (i = 0; i < LEN / 8; i++) {
		word = next_word(word);
		same += to[i] == word;
	}
	seed = word;
	if (same != LEN / 8)
		print("# %u of %u words arrived\n", same, LEN / 8);
	return same == LEN / 8;
}

/* ---- operations of guests ---- */

static void decoding(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		set_command(&gpu, false);
		set_command(&gpu, true);
	}
	result(peer_to_peer(), "P2P after memory decoding was off and on, three times");
}

/*
 * Find out a BAR's size like firmware and kernels: write all ones, with decoding off or, as some
 * do, on.
 */
static void sizing(bool on)
{
	uint32_t size;

	set_command(&gpu, on);
	size = bar_size(&gpu);
	set_command(&gpu, true);
	result(size == gpu.size, "the BAR says its size");
	result(peer_to_peer(),
	       on ? "P2P after its size was asked for with decoding on" :
		    "P2P after its size was asked for");
}

/*
 * Reset a function like Linux, which has only the reset of the bus for a function without FLR and
 * power management. Save its header and disable it before, and restore the header from its end, so
 * that the BARs have their addresses before decoding is on.
 */
static void reset(const struct function *f, const char *what)
{
	uint16_t control = (uint16_t)(config_read(f->port, BRIDGE_CONTROL & ~3U) >> 16);
	uint32_t saved[CONFIG_SIZE / 4];
	unsigned int i;

	for (i = 0; i < CONFIG_SIZE / 4; i++)
		saved[i] = config_read(f->address, 4 * i);
	config_write16(f->address, COMMAND, COMMAND_NO_INTX);
	config_write16(f->port, BRIDGE_CONTROL, control | BRIDGE_BUS_RESET);
	delay_ms(2);
	config_write16(f->port, BRIDGE_CONTROL, control);
	delay_ms(100);
	if (config_read(f->address, BAR0 + 4 * f->nr) & ~15U)
		give_up("a reset of the bus left the BAR's address");
	for (i = CONFIG_SIZE / 4; i-- > 0;)
		config_write(f->address, 4 * i, saved[i]);
	set_command(f, true);
	result(peer_to_peer(), what);
}

void guest_main(void)
{
	volatile uint64_t *mark;

	out8(SERIAL + SERIAL_LINE_CONTROL, SERIAL_8_BITS);
	catch_exceptions();
	find(&edu, 0x1234, 0x11e8);
	find(&gpu, 0x1af4, 0x1110);
	map(&edu);
	map(&gpu);
	mark = (volatile void *)(gpu.bar + MARK);
	if (*mark != BOOTED) {
		result(peer_to_peer(), "P2P");
		decoding();
		sizing(false);
		sizing(true);
		reset(&gpu, "P2P after a reset of the exporter");
		reset(&edu, "P2P after a reset of the importer");
		*mark = BOOTED;
		if (*mark != BOOTED)
			give_up("the GPU's memory does not keep the mark of the first boot");
		print("# the machine is reset\n");
		out8(RESET_CONTROL, RESET_CONTROL_MACHINE);
		halt();
	}
	number = 8;
	result(peer_to_peer(), "P2P after a reset of the machine");
	*mark = 0;
	print("1..%u\n", number);
	power_off();
}
