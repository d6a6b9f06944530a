// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The command peerbar: command line and help. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "tool.h"

enum option_value {
	OPT_DRIVER = 256,
	OPT_HOLD,
	OPT_FD,
	OPT_INTO,
	OPT_IOVA,
	OPT_PROT,
	OPT_OFFSET,
	OPT_LENGTH,
	OPT_ALLOW_UNKNOWN,
	OPT_MEMATTR,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_BAR,
	OPT_FORCE,
	OPT_WAIT,
	OPT_REVOKE,
	OPT_VERBOSE,
	OPT_STATS,
	OPT_PERSIST,
	OPT_PROBE,
	OPT_DMA,
	/* The options from here on belong to all commands. */
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
};

#define BIT(option) (1U << ((option) - OPT_DRIVER))

static const struct option options[] = {
	{ "driver", required_argument, NULL, OPT_DRIVER },
	{ "hold", no_argument, NULL, OPT_HOLD },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "into", required_argument, NULL, OPT_INTO },
	{ "iova", required_argument, NULL, OPT_IOVA },
	{ "prot", required_argument, NULL, OPT_PROT },
	{ "offset", required_argument, NULL, OPT_OFFSET },
	{ "length", required_argument, NULL, OPT_LENGTH },
	{ "allow-unknown", no_argument, NULL, OPT_ALLOW_UNKNOWN },
	{ "memattr", required_argument, NULL, OPT_MEMATTR },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "bar", required_argument, NULL, OPT_BAR },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "wait", no_argument, NULL, OPT_WAIT },
	{ "revoke", no_argument, NULL, OPT_REVOKE },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "persist", no_argument, NULL, OPT_PERSIST },
	{ "probe", no_argument, NULL, OPT_PROBE },
	{ "dma", required_argument, NULL, OPT_DMA },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static const struct command {
	const char *name;
	int (*run)(const struct args *args);
	unsigned int options;
	bool runs_command; /* takes -- CMD */
	const char *help;
} commands[] = {
	{ "devices", cmd_devices, 0, false,
	  "Usage: peerbar [--json] devices [BDF...]\n"
	  "\n"
	  "List the PCI functions that have memory BARs, or the functions BDF, with driver,\n"
	  "VFIO character device, IOMMU group and BARs.\n" },
	{ "bind", cmd_bind,
	  BIT(OPT_DRIVER) | BIT(OPT_FORCE) | BIT(OPT_WAIT) | BIT(OPT_REVOKE) | BIT(OPT_PERSIST),
	  false,
	  "Usage: peerbar [--json] bind BDF... [--driver NAME] [--persist] [--force] [--revoke]\n"
	  "                             [--wait]\n"
	  "\n"
	  "Unbind PCI functions from their drivers and bind them to another one. Fails, and names\n"
	  "the process, if a process has a function open by a VFIO driver.\n"
	  "\n"
	  "  --driver NAME  the driver; vfio-pci unless given. modprobe loads it if needed.\n"
	  "                 With peerbar-vfio-pci, processes can map buffers, and they can be\n"
	  "                 revoked permanently\n"
	  "  --persist      bind them at each boot, too, by a rule of udev\n"
	  "  --force        bind to a driver that does not support the device, which can crash\n"
	  "                 the kernel; VFIO's drivers support any\n"
	  "  --revoke       as for 'unbind'\n"
	  "  --wait         as for 'unbind'\n" },
	{ "unbind", cmd_unbind, BIT(OPT_WAIT) | BIT(OPT_REVOKE) | BIT(OPT_PERSIST), false,
	  "Usage: peerbar [--json] unbind BDF... [--persist] [--revoke] [--wait]\n"
	  "\n"
	  "Unbind PCI functions from their drivers and let the kernel bind the default ones.\n"
	  "Fails, and names the process, if a process has a function open by a VFIO driver.\n"
	  "\n"
	  "  --persist  no longer bind them at boot\n"
	  "  --revoke   first revoke all buffers of the device permanently, as 'revoke' does\n"
	  "  --wait     wait until no process has the device open; SIGINT or SIGTERM ends the wait\n" },
	{ "revoke", cmd_revoke, 0, false,
	  "Usage: peerbar [--json] revoke FD|PID:FD|BDF...\n"
	  "\n"
	  "Revoke dma-bufs permanently, or all those of a device BDF. The device must be bound to\n"
	  "peerbar-vfio-pci. This needs the right to trace the process that has it open.\n" },
	{ "reset", cmd_reset, BIT(OPT_FORCE), false,
	  "Usage: peerbar [--json] reset BDF... [--force]\n"
	  "\n"
	  "Reset PCI functions that are bound to a VFIO driver. Their buffers are revoked until\n"
	  "memory decoding is on again.\n"
	  "\n"
	  "  --force  also reset a function that another process has open, by its descriptor\n" },
	{ "export", cmd_export, BIT(OPT_HOLD) | BIT(OPT_MEMATTR), true,
	  "Usage: peerbar [--json] export BDF BAR [OFFSET:LENGTH...] [--memattr LIST]\n"
	  "                               [--hold | -- CMD...]\n"
	  "\n"
	  "Export ranges of a BAR as one dma-buf, and describe it. Without a range it is the\n"
	  "whole BAR, rounded down to a page.\n"
	  "\n"
	  "  --memattr LIST  the memory attribute of processes' mappings: the first of LIST that\n"
	  "                  is supported, as in wc,nc: nc, wc, wb, or dev (on arm64). Needs\n"
	  "                  peerbar-vfio-pci\n"
	  "  --hold          keep the buffer until SIGINT or SIGTERM; the last line is PID:FD.\n"
	  "                  SIGUSR1 revokes it permanently, which needs peerbar-vfio-pci\n"
	  "  -- CMD          run CMD with the dma-buf in descriptor $PEERBAR_FD; SIGUSR1 as above\n" },
	{ "query", cmd_query, BIT(OPT_PROBE), false,
	  "Usage: peerbar [--json] query FD|PID:FD... [--probe]\n"
	  "\n"
	  "Describe dma-bufs: FD is an inherited descriptor, PID:FD one of another process. Does\n"
	  "not move the memory.\n"
	  "\n"
	  "  --probe  attach for a moment if that reveals more; some exporters then move the\n"
	  "           memory to system memory\n" },
	{ "peek", cmd_peek, 0, false,
	  "Usage: peerbar [--json] peek FD|PID:FD OFFSET LENGTH\n"
	  "\n"
	  "Print bytes of a dma-buf, by mmap. Those of stock vfio-pci cannot be mapped.\n" },
	{ "poke", cmd_poke, 0, false,
	  "Usage: peerbar [--json] poke FD|PID:FD OFFSET BYTES\n"
	  "\n"
	  "Write bytes to a dma-buf, by mmap. BYTES are hexadecimal digits, two per byte.\n" },
	{ "map", cmd_map,
	  BIT(OPT_HOLD) | BIT(OPT_FD) | BIT(OPT_INTO) | BIT(OPT_IOVA) | BIT(OPT_PROT) |
		  BIT(OPT_OFFSET) | BIT(OPT_LENGTH) | BIT(OPT_ALLOW_UNKNOWN),
	  true,
	  "Usage: peerbar [--json] map BDF BAR [OFFSET:LENGTH...] --into BDF... [OPTION...]\n"
	  "       peerbar [--json] map --fd FD|PID:FD --into BDF... [OPTION...]\n"
	  "\n"
	  "Map a buffer into a new I/O address space, for the devices attached to it.\n"
	  "\n"
	  "  --fd FD|PID:FD   map this dma-buf instead of exporting one\n"
	  "  --into BDF       attach this device; may be given several times\n"
	  "  --iova ADDR      map at this address; at any free one unless given\n"
	  "  --prot r|w|rw    the access of the devices; rw unless given\n"
	  "  --offset N       begin at this offset of the buffer\n"
	  "  --length N       map N bytes; all from the offset on unless given\n"
	  "  --allow-unknown  map a buffer whose memory model is unknown\n"
	  "  --hold           keep the mapping until SIGINT or SIGTERM; print when it is revoked,\n"
	  "                   and restore it when that is possible\n"
	  "  -- CMD           run CMD, with PEERBAR_IOVA, PEERBAR_LENGTH and PEERBAR_FD set\n" },
	{ "run", cmd_run,
	  BIT(OPT_BAR) | BIT(OPT_FD) | BIT(OPT_OFFSET) | BIT(OPT_LENGTH) | BIT(OPT_MEMATTR), true,
	  "Usage: peerbar run --bar BDF:BAR[+OFFSET] [--length N] [--memattr LIST] -- CMD...\n"
	  "       peerbar run --fd FD|PID:FD [--offset N] [--length N] -- CMD...\n"
	  "\n"
	  "Run CMD, unmodified, with the memory that it registers for RDMA in a BAR. The device\n"
	  "must be bound to peerbar-vfio-pci. peerbar(1) lists the limitations.\n"
	  "\n"
	  "  --bar BDF:BAR[+OFFSET]  the BAR, from OFFSET on\n"
	  "  --fd FD|PID:FD          a dma-buf, instead of a BAR\n"
	  "  --offset N              begin at this offset of the dma-buf\n"
	  "  --length N              use N bytes; all from the offset on unless given\n"
	  "  --memattr LIST          as for 'export'\n" },
	{ "list", cmd_list, BIT(OPT_VERBOSE), false,
	  "Usage: peerbar [--json] list [--verbose]\n"
	  "\n"
	  "List the buffers that all processes exported through peerbar's kernel modules. With\n"
	  "--json and CAP_SYS_ADMIN also their creators, physical addresses and importers.\n"
	  "\n"
	  "  --verbose  first list the importers: what each has mapped and since when, and what a\n"
	  "             revoke waits for. Needs CAP_SYS_ADMIN\n" },
	{ "watch", cmd_watch, BIT(OPT_COUNT) | BIT(OPT_TIMEOUT) | BIT(OPT_STATS), false,
	  "Usage: peerbar [--json] watch [--stats S] [--count N] [--timeout S]\n"
	  "\n"
	  "Print a line when such a buffer is created, revoked, restored, moved or released,\n"
	  "until SIGINT or SIGTERM.\n"
	  "\n"
	  "  --stats S    every S seconds, print the rates of events of each buffer instead, and\n"
	  "               with CAP_SYS_ADMIN what its importers have mapped\n"
	  "  --count N    exit after N events, or N intervals\n"
	  "  --timeout S  exit after S seconds; with --count that is a failure\n" },
	{ "capabilities", cmd_capabilities, 0, false,
	  "Usage: peerbar [--json] capabilities\n"
	  "\n"
	  "List the capabilities of this system, and what the missing ones need, by name.\n" },
	{ "doctor", cmd_doctor, BIT(OPT_DMA) | BIT(OPT_FORCE), false,
	  "Usage: peerbar [--json] doctor\n"
	  "       peerbar [--json] doctor FROM TO [--dma BAR+OFFSET [--force]]\n"
	  "\n"
	  "List what of this machine is ready, and what to do about the rest. With two functions\n"
	  "BDF, report whether the first reaches the memory of the second: the bridges between\n"
	  "them, and whether iommufd maps it. Exits with 1 if something needed is missing.\n"
	  "\n"
	  "  --dma BAR+OFFSET  prove it: FROM, an NVMe controller, is reset, and writes and reads\n"
	  "                    4 KiB of this BAR of TO, whose old bytes are written back\n"
	  "  --force           also if the BAR is not prefetchable, and may have registers\n" },
};

static const char general_help[] =
	"Usage: peerbar [--json] COMMAND [OPERAND...] [OPTION...]\n"
	"\n"
	"Export memory of PCI devices as dma-bufs, and map it for other devices.\n"
	"\n"
	"  devices [BDF...]              list PCI functions with memory BARs\n"
	"  bind BDF...                   bind functions to vfio-pci\n"
	"  unbind BDF...                 bind functions to their default drivers\n"
	"  reset BDF...                  reset functions\n"
	"  export BDF BAR [RANGE...]     export ranges of a BAR as a dma-buf\n"
	"  query FD|PID:FD...            describe dma-bufs\n"
	"  map BDF BAR [RANGE...] --into BDF...\n"
	"                                export, and map for other devices\n"
	"  run --bar BDF:BAR -- CMD...   run CMD with its RDMA memory in a BAR\n"
	"  peek FD|PID:FD OFFSET LENGTH  print bytes of a dma-buf\n"
	"  poke FD|PID:FD OFFSET BYTES   write bytes to a dma-buf\n"
	"  revoke FD|PID:FD|BDF...       revoke dma-bufs permanently, or all of a device\n"
	"  list                          list buffers of peerbar's kernel modules\n"
	"  watch                         print their events\n"
	"  capabilities                  list the capabilities of this system\n"
	"  doctor [BDF BDF]              list what of this machine is ready, and what to do\n"
	"  help [COMMAND]                print this help, or that of a command\n"
	"\n"
	"  --json         print results and errors as JSON\n"
	"  -h, --help     print this help, or that of a command\n"
	"  -V, --version  print the version\n"
	"\n"
	"BDF is 0000:01:00.0 or 01:00.0, RANGE is OFFSET:LENGTH. Numbers are decimal or, after\n"
	"0x, hexadecimal, and may end in K, M, G or T. See peerbar(1).\n";

/* Results of parse_arguments() that are not exit statuses. */
#define HELP_WANTED    1000
#define VERSION_WANTED 1001

static const char *get_option_name(int value)
{
	const struct option *o;

	for (o = options; o->name && o->val != value; o++)
		;
	return o->name ? o->name : "";
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int take_option_number(int option, uint64_t *value)
{
	char why[200];

	if (pbt_parse_number(optarg, value, why, sizeof(why)))
		return misuse("cannot take --%s: %s", get_option_name(option), why);
	return STATUS_OK;
}

static int take_option_memattrs(struct args *args)
{
	char why[200];

	if (pbt_parse_memattrs(optarg, args->memattrs,
			       sizeof(args->memattrs) / sizeof(args->memattrs[0]),
			       &args->nr_memattrs, why, sizeof(why)))
		return misuse("cannot take --memattr: %s", why);
	return STATUS_OK;
}

static int take_option(struct args *args, int option)
{
	switch (option) {
	case OPT_DRIVER:
		args->driver = optarg;
		return STATUS_OK;
	case OPT_HOLD:
		args->hold = true;
		return STATUS_OK;
	case OPT_FD:
		args->fd = optarg;
		return STATUS_OK;
	case OPT_BAR:
		args->bar = optarg;
		return STATUS_OK;
	case OPT_INTO:
		args->into[args->nr_into++] = optarg;
		return STATUS_OK;
	case OPT_IOVA:
		args->map_flags |= PB_MAP_FIXED;
		return take_option_number(option, &args->iova);
	case OPT_PROT:
		args->map_flags &= ~(unsigned int)(PB_MAP_READ | PB_MAP_WRITE);
		if (!strcmp(optarg, "r") || !strcmp(optarg, "rw"))
			args->map_flags |= PB_MAP_READ;
		if (!strcmp(optarg, "w") || !strcmp(optarg, "rw"))
			args->map_flags |= PB_MAP_WRITE;
		if (!(args->map_flags & (PB_MAP_READ | PB_MAP_WRITE)))
			return misuse("cannot take --prot '%.40s'; use r, w or rw", optarg);
		return STATUS_OK;
	case OPT_OFFSET:
		return take_option_number(option, &args->offset);
	case OPT_LENGTH:
		return take_option_number(option, &args->length);
	case OPT_ALLOW_UNKNOWN:
		args->map_flags |= PB_MAP_UNKNOWN_MODEL;
		return STATUS_OK;
	case OPT_MEMATTR:
		return take_option_memattrs(args);
	case OPT_COUNT:
		args->has_count = true;
		return take_option_number(option, &args->count);
	case OPT_TIMEOUT:
		args->has_timeout = true;
		return take_option_number(option, &args->timeout);
	case OPT_FORCE:
		args->force = true;
		return STATUS_OK;
	case OPT_WAIT:
		args->wait = true;
		return STATUS_OK;
	case OPT_STATS:
		args->has_stats = true;
		return take_option_number(option, &args->stats);
	case OPT_PROBE:
		args->probe = true;
		return STATUS_OK;
	case OPT_DMA:
		args->dma = optarg;
		return STATUS_OK;
	case OPT_VERBOSE:
		args->verbose = true;
		return STATUS_OK;
	case OPT_PERSIST:
		args->persist = true;
		return STATUS_OK;
	case OPT_REVOKE:
		args->revoke = true;
		return STATUS_OK;
	case OPT_JSON:
		json_output = true;
		return STATUS_OK;
	default:
		return STATUS_OK;
	}
}

/*
 * Parse @argc arguments, up to "--". Returns an exit status, or one of the above. *@command is NULL
 * if there is none.
 */
static int parse_arguments(int argc, char **argv, struct args *args, const struct command **command)
{
	bool help = false, version = false;
	unsigned int given = 0, wrong;
	int option, status, i;

	*command = NULL;
	opterr = 0;
	/*
	 * '-': return operands in order, as the argument of option 1, regardless of
	 * POSIXLY_CORRECT.
	 */
	while ((option = getopt_long(argc, argv, "-:hV", options, NULL)) != -1) {
		if (option == ':')
			return misuse("the option '%.40s' needs an argument", argv[optind - 1]);
		if (option == '?' && optopt >= OPT_DRIVER)
			return misuse("the option '%.40s' takes no argument", argv[optind - 1]);
		if (option == '?' && optopt)
			return misuse("there is no option '-%c'; 'peerbar --help' lists the options",
				      optopt);
		if (option == '?')
			return misuse("there is no option '%.40s', or it is short for several; "
				      "'peerbar --help' lists the options",
				      argv[optind - 1]);
		if (option == 'h' || option == OPT_HELP) {
			help = true;
		} else if (option == 'V' || option == OPT_VERSION) {
			version = true;
		} else if (option != 1) {
			given |= BIT(option);
			status = take_option(args, option);
			if (status)
				return status;
		} else if (!*command && !strcmp(optarg, "help")) {
			help = true;
		} else if (*command) {
			args->operands[args->nr_operands++] = optarg;
		} else {
			*command = find_command(optarg);
			if (!*command)
				return misuse("there is no command '%.40s'; 'peerbar --help' lists "
					      "the commands",
					      optarg);
		}
	}
	if (help || version)
		return help ? HELP_WANTED : VERSION_WANTED;
	if (!*command)
		return misuse("a command is needed; 'peerbar --help' lists the commands");
	wrong = given & (BIT(OPT_JSON) - 1) & ~(*command)->options;
	for (i = OPT_DRIVER; i < OPT_JSON; i++)
		if (wrong & BIT(i))
			return misuse("the command '%s' has no option --%s; 'peerbar %s --help' "
				      "lists its options",
				      (*command)->name, get_option_name(i), (*command)->name);
	if (args->command && !(*command)->runs_command)
		return misuse("the command '%s' runs no other command, so nothing can follow it after '--'",
			      (*command)->name);
	if (args->command && !args->command[0])
		return misuse("a command to run is missing after '--'");
	if (args->command && args->hold)
		return misuse(
			"--hold and a command after '--' exclude each other; use one of them");
	return STATUS_OK;
}

/*
 * Don't let a later descriptor get the number of a standard stream that the caller closed. Using
 * one still fails.
 */
static void occupy_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_PATH | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	struct args args = { .map_flags = PB_MAP_READ | PB_MAP_WRITE };
	const struct command *command = NULL;
	int status, n;

	occupy_standard_streams();
	/* If SIGCHLD were ignored, as inherited, the exit statuses of children would be lost. */
	signal(SIGCHLD, SIG_DFL);
	/* The arguments after "--" belong to the other command. */
	for (n = 1; n < argc && strcmp(argv[n], "--"); n++)
		if (!strcmp(argv[n], "--json"))
			json_output = true;
	if (n < argc)
		args.command = argv + n + 1;
	args.operands = allocate((size_t)n, sizeof(*args.operands));
	args.into = allocate((size_t)n, sizeof(*args.into));
	status = parse_arguments(n, argv, &args, &command);
	if (status == HELP_WANTED) {
		fputs(command ? command->help : general_help, stdout);
		status = STATUS_OK;
	} else if (status == VERSION_WANTED) {
		printf("peerbar %s\n", pb_version());
		status = STATUS_OK;
	} else if (!status) {
		status = command->run(&args);
	}
	if (flush_output() && !status)
		status = STATUS_FAILED;
	free(args.operands);
	free(args.into);
	return status;
}
