// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar export, query, map, run */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parse.h"
#include "tool.h"

/* ---- open devices, each once ---- */

struct opened {
	struct pb_iommu *iommu;
	struct pb_device **devices;
	unsigned int nr_devices;
};

static void close_all(struct opened *s)
{
	while (s->nr_devices)
		pb_device_close(s->devices[--s->nr_devices]);
	free(s->devices);
	pb_iommu_close(s->iommu);
}

/* @room: the capacity, in devices. Returns an exit status. */
static int open_context(struct opened *s, unsigned int room)
{
	struct pb_error err;

	memset(s, 0, sizeof(*s));
	s->devices = allocate(room, sizeof(*s->devices));
	if (pb_iommu_open(&s->iommu, &err))
		return report(&err);
	return STATUS_OK;
}

static int open_device(struct opened *s, const char *bdf, struct pb_device **device)
{
	struct pb_pci_function f;
	struct pb_error err;
	unsigned int i;
	int ret;

	/* Normalize the address. */
	ret = pb_pci_get(bdf, &f, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	for (i = 0; i < s->nr_devices; i++) {
		if (!strcmp(pb_device_bdf(s->devices[i]), f.bdf)) {
			*device = s->devices[i];
			return STATUS_OK;
		}
	}
	if (pb_device_open(s->iommu, f.bdf, device, &err))
		return report(&err);
	s->devices[s->nr_devices++] = *device;
	return STATUS_OK;
}

/* ---- sources of a buffer ---- */

/* The operands BDF BAR [OFFSET:LENGTH...]. */
struct source {
	const char *bdf;
	unsigned int bar;
	struct pb_range *ranges;
	unsigned int nr_ranges; /* 0 for the whole BAR */
};

static int parse_export(const struct args *args, struct source *x)
{
	unsigned int i, n;
	uint64_t bar = 0;
	char why[200];

	if (args->nr_operands < 2)
		return misuse("the operands BDF and BAR are needed, as in 0000:01:00.0 2, and %u %s given", args->nr_operands,
			      args->nr_operands == 1 ? "was" : "were");
	x->bdf = args->operands[0];
	if (pbt_parse_number(args->operands[1], &bar, why, sizeof(why)))
		return misuse("cannot take a BAR's number: %s", why);
	if (bar >= PB_BARS)
		return misuse("there is no BAR %" PRIu64 ": a PCI function has BARs 0 to %d", bar,
			      PB_BARS - 1);
	x->bar = (unsigned int)bar;
	n = args->nr_operands - 2;
	x->nr_ranges = n;
	x->ranges = allocate(n, sizeof(*x->ranges));
	for (i = 0; i < n; i++) {
		if (pbt_parse_range(args->operands[2 + i], &x->ranges[i], why, sizeof(why))) {
			free(x->ranges);
			return misuse("cannot take range %u: %s", i, why);
		}
	}
	return STATUS_OK;
}

static int export_buffer(struct opened *s, struct source *x, struct pb_device **from,
			 struct pb_buffer **buffer)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct pb_device *device;
	struct pb_region region;
	struct pb_error err;
	int status;

	status = open_device(s, x->bdf, &device);
	if (status)
		return status;
	*from = device;
	/*
	 * While decoding is off, a buffer is revoked, and no other process can turn it on while
	 * this one has the device.
	 */
	if (pb_device_set_decoding(device, true, &err))
		return report(&err);
	if (!x->nr_ranges) {
		if (pb_device_region(device, x->bar, &region, &err))
			return report(&err);
		x->nr_ranges = 1;
		x->ranges[0].length = region.size & ~(page - 1);
		/* Too small, or no such BAR: the library reports the error. */
		if (!x->ranges[0].length)
			x->ranges[0].length = page;
	}
	if (pb_buffer_export(device, x->bar, x->ranges, x->nr_ranges, 0, buffer, &err))
		return report(&err);
	return STATUS_OK;
}

static int parse_int(const char *text, const char *what, int *value)
{
	uint64_t v = 0;
	char why[200];

	if (pbt_parse_number(text, &v, why, sizeof(why)))
		return misuse("cannot take %s: %s", what, why);
	if (v > INT_MAX)
		return misuse("cannot take %s: '%.40s' is too large: %d is the largest number", what, text, INT_MAX);
	*value = (int)v;
	return STATUS_OK;
}

int take_buffer(const char *text, struct pb_buffer **buffer)
{
	const char *colon = strchr(text, ':');
	int fd, copy, ret, status, pid = 0;
	struct pb_error err;

	status = parse_int(colon ? colon + 1 : text, "a descriptor's number", &fd);
	if (status)
		return status;
	if (!colon) {
		if (pb_buffer_from_fd(fd, buffer, &err))
			return report(&err);
		return STATUS_OK;
	}
	if (colon - text < 80) {
		char number[80] = "";

		memcpy(number, text, (size_t)(colon - text));
		status = parse_int(number, "a process's number", &pid);
		if (status)
			return status;
	}
	if (!pid)
		return misuse("'%.40s' names no process; use PID:FD, as in 1234:5", text);
	copy = take_descriptor(pid, fd);
	if (copy < 0)
		return STATUS_FAILED;
	ret = pb_buffer_from_fd(copy, buffer, &err);
	close(copy);
	/* The library's sentence would name the copy. */
	if (ret == -EINVAL)
		return fail(EINVAL, "descriptor %d of process %d is no dma-buf", fd, pid);
	return ret ? report(&err) : STATUS_OK;
}

/* ---- the description of a buffer ---- */

/* Returns NULL if the ranges are unknown. */
static struct json_object *get_ranges_json(const struct pb_buffer *buffer)
{
	unsigned int i, n = pb_buffer_ranges(buffer, NULL, 0);
	struct json_object *array, *range;
	struct pb_range *ranges;

	if (!n)
		return NULL;
	ranges = allocate(n, sizeof(*ranges));
	array = json_new(true);
	pb_buffer_ranges(buffer, ranges, n);
	for (i = 0; i < n; i++) {
		range = json_new(false);
		json_put_number(range, "offset", ranges[i].offset);
		json_put_number(range, "length", ranges[i].length);
		json_append(array, range);
	}
	free(ranges);
	return array;
}

/* Add the fields that only the kernel module peerbar reports; null without it. */
static void describe_module_fields(const struct pb_buffer_info *info, struct json_object *object)
{
	struct json_object *faults;

	json_put_string(object, "state", pb_buffer_state_name(info->state));
	if (info->asked) {
		json_put_bool(object, "mmap", info->mappable);
		json_put_number(object, "importers", info->importers);
	} else {
		json_put(object, "mmap", NULL);
		json_put(object, "importers", NULL);
	}
	if (!info->managed) {
		json_put(object, "memattr", NULL);
		json_put(object, "list_id", NULL);
		json_put(object, "faults", NULL);
		return;
	}
	json_put_memattr(object, "memattr", info->memattr);
	json_put_number(object, "list_id", info->list_id);
	faults = json_new(false);
	json_put_number(faults, "page", info->faults[0]);
	json_put_number(faults, "pmd", info->faults[1]);
	json_put_number(faults, "pud", info->faults[2]);
	json_put(object, "faults", faults);
}

/*
 * *@description receives an object. @fd is the descriptor's number in it, unless negative. Returns
 * an exit status.
 */
static int describe_buffer(struct pb_buffer *buffer, int fd, struct pb_buffer_info *info,
			   struct json_object **description)
{
	struct json_object *object, *ranges;
	struct pb_error err;

	if (pb_buffer_query(buffer, info, &err))
		return report(&err);
	make_printable(info->name);
	make_printable(info->exporter);
	object = json_new(false);
	if (fd >= 0)
		json_put_number(object, "fd", (uint64_t)fd);
	json_put_number(object, "size", info->size);
	json_put_string(object, "model", pb_model_name(info->model));
	json_put_string(object, "basis", pb_model_basis_name(info->basis));
	json_put_string(object, "exporter", info->exporter);
	json_put_number(object, "id", info->id);
	json_put_string(object, "name", info->name);
	json_put_string(object, "bdf", info->bdf);
	if (info->bar < 0)
		json_put(object, "bar", NULL);
	else
		json_put_number(object, "bar", (uint64_t)info->bar);
	ranges = get_ranges_json(buffer);
	json_put(object, "ranges", ranges);
	/* In text output, only if the ranges are unknown. */
	if (info->nr_ranges && (json_output || !ranges))
		json_put_number(object, "nr_ranges", info->nr_ranges);
	else
		json_put(object, "nr_ranges", NULL);
	describe_module_fields(info, object);
	*description = object;
	return STATUS_OK;
}

/* ---- commands that get a buffer ---- */

static int set_variable(const char *name, bool hex, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), hex ? "0x%" PRIx64 : "%" PRIu64, number);
	if (setenv(name, text, 1))
		return fail(errno, "cannot set %s in the environment: %s", name, strerror(errno));
	return STATUS_OK;
}

/* A buffer that SIGUSR1 revokes. */
struct revocable {
	struct pb_device *device;
	struct pb_buffer *buffer;
};

/* Don't print to stdout, which is the command's. The command goes on, even on failure. */
static void revoke_under_command(void *arg)
{
	struct revocable *r = arg;
	struct pb_error err;

	if (pb_buffer_revoke(r->device, r->buffer, &err))
		fprintf(stderr, "peerbar: %s\n", err.text);
	else
		fputs("peerbar: revoked\n", stderr);
}

/*
 * @device is the buffer's; NULL if another process exported it, and then SIGUSR1 is passed to the
 * command.
 */
static int run_with_buffer(char *const command[], struct pb_device *device, struct pb_buffer *buffer)
{
	struct revocable r = { device, buffer };
	int fd = pb_buffer_fd(buffer);
	int status;

	/* Decimal, for shells: <&$PEERBAR_FD */
	status = set_variable("PEERBAR_FD", false, (uint64_t)fd);
	return status ? status : run_command(command, fd, device ? revoke_under_command : NULL, &r);
}

/* ---- export ---- */

/*
 * Hold the buffer until a signal, or until stdout has no reader. SIGUSR1 revokes the buffer; keep
 * it in any case.
 */
static int hold_buffer(struct pb_device *device, struct pb_buffer *buffer)
{
	struct pb_error err;
	char text[32];

	while (wait_while_read(SIGUSR1, -1) == SIGUSR1) {
		if (pb_buffer_revoke(device, buffer, &err)) {
			report(&err);
			flush_output();
			continue;
		}
		if (json_output) {
			struct json_object *object = json_new(false);

			json_put_string(object, "time", time_text(text));
			json_put_string(object, "event", "revoked");
			print_result(object);
		} else {
			printf("%s  revoked\n", time_text(text));
		}
		if (flush_output())
			return STATUS_FAILED;
	}
	return STATUS_OK;
}

int cmd_export(const struct args *args)
{
	struct pb_device *device = NULL;
	struct pb_buffer *buffer = NULL;
	struct json_object *description;
	struct pb_buffer_info info;
	struct pb_error err;
	struct source x;
	struct opened s;
	int status, fd;

	status = parse_export(args, &x);
	if (status)
		return status;
	status = open_context(&s, 1);
	if (!status)
		status = export_buffer(&s, &x, &device, &buffer);
	if (!status && args->nr_memattrs && pb_buffer_set_memattr(device, buffer, args->memattrs, args->nr_memattrs, NULL, &err))
		status = report(&err);
	if (status)
		goto out;
	if (args->command) {
		status = run_with_buffer(args->command, device, buffer);
		goto out;
	}
	fd = pb_buffer_fd(buffer);
	status = describe_buffer(buffer, fd, &info, &description);
	if (status)
		goto out;
	if (args->hold) {
		/* Must be before the line is printed: its reader may send one of the signals. */
		block_signals(SIGUSR1);
		json_put_number(description, "pid", (uint64_t)getpid());
	}
	print_result(description);
	if (args->hold && !json_output)
		printf("%d:%d\n", (int)getpid(), fd);
	status = flush_output();
	if (!status && args->hold)
		status = hold_buffer(device, buffer);
out:
	pb_buffer_close(buffer);
	close_all(&s);
	free(x.ranges);
	return status;
}

/* ---- query ---- */

int cmd_query(const struct args *args)
{
	struct json_object *array, *description;
	struct pb_buffer_info info;
	struct pb_buffer *buffer;
	unsigned int i;
	int status;

	if (!args->nr_operands)
		return misuse("'query' needs a descriptor: FD of its own, or PID:FD of another process");
	array = json_new(true);
	for (i = 0; i < args->nr_operands; i++) {
		status = take_buffer(args->operands[i], &buffer);
		if (status)
			goto out;
		status = describe_buffer(buffer, -1, &info, &description);
		/* Close it now, so that a later operand cannot name the descriptor by accident. */
		pb_buffer_close(buffer);
		if (status)
			goto out;
		json_append(array, description);
	}
	if (args->nr_operands == 1) {
		print_result(json_object_get(json_object_array_get_idx(array, 0)));
	} else if (json_output) {
		print_result(json_object_get(array));
	} else {
		for (i = 0; i < args->nr_operands; i++) {
			printf("%s%s\n", i ? "\n" : "", args->operands[i]);
			print_result(json_object_get(json_object_array_get_idx(array, i)));
		}
	}
out:
	json_object_put(array);
	return status;
}

/* ---- map ---- */

static void print_mapping(const struct pb_mapping *mapping, const struct pb_ioas *ioas, unsigned int flags,
			  struct pb_device *const *into, unsigned int nr_into, const char *model, struct json_object *buffer)
{
	struct json_object *object = json_new(false), *devices = json_new(true);
	unsigned int i;

	json_put_number(object, "iova", pb_mapping_iova(mapping));
	json_put_number(object, "length", pb_mapping_length(mapping));
	json_put_string(object, "prot", !(flags & PB_MAP_WRITE) ? "r" : flags & PB_MAP_READ ? "rw" : "w");
	json_put_string(object, "model", model);
	json_put_number(object, "ioas", pb_ioas_id(ioas));
	for (i = 0; i < nr_into; i++)
		json_append(devices, json_object_new_string(pb_device_bdf(into[i])));
	json_put(object, "devices", devices);
	json_put(object, "buffer", buffer);
	print_result(object);
}

static int print_event(const char *what, const struct pb_mapping *mapping)
{
	uint64_t iova = pb_mapping_iova(mapping), length = pb_mapping_length(mapping);
	char text[32];

	time_text(text);
	if (json_output) {
		struct json_object *object = json_new(false);

		json_put_string(object, "time", text);
		json_put_string(object, "event", what);
		json_put_number(object, "iova", iova);
		json_put_number(object, "length", length);
		print_result(object);
	} else {
		printf("%s  %s 0x%" PRIx64 ", 0x%" PRIx64 " bytes\n", text, what, iova, length);
	}
	return flush_output();
}

/*
 * Until a signal, or until stdout has no reader: report a revocation of the mapping, and restore it
 * as soon as possible.
 */
static int hold_mapping(struct pb_ioas *ioas, struct pb_mapping *mapping)
{
	bool told = false;
	struct pb_error err;
	int ret, status;

	while (!wait_while_read(0, 1)) {
		if (pb_ioas_check(ioas, NULL, &err))
			return report(&err);
		/* There is only one mapping; its state is checked below. */
		while (pb_ioas_next_revoked(ioas))
			;
		if (pb_mapping_state(mapping) == PB_LIVE)
			continue;
		status = told ? STATUS_OK : print_event("revoked", mapping);
		if (status)
			return status;
		told = true;
		ret = pb_mapping_restore(mapping, &err);
		if (ret == -ENODEV)
			continue;
		if (ret)
			return report(&err);
		told = false;
		status = print_event("restored", mapping);
		if (status)
			return status;
	}
	return STATUS_OK;
}

/* Open and attach the devices of --into. *@nr receives the number of different devices. */
static int attach_devices(struct opened *s, const struct args *args, struct pb_ioas *ioas,
			  struct pb_device **into, unsigned int *nr)
{
	struct pb_device *device;
	struct pb_error err;
	unsigned int i, k;
	int status;

	for (i = 0; i < args->nr_into; i++) {
		status = open_device(s, args->into[i], &device);
		if (status)
			return status;
		for (k = 0; k < *nr && into[k] != device; k++)
			;
		if (k < *nr)
			continue;
		if (pb_ioas_attach(ioas, device, &err))
			return report(&err);
		into[(*nr)++] = device;
	}
	return STATUS_OK;
}

int cmd_map(const struct args *args)
{
	struct pb_device **into = NULL, *device = NULL;
	struct pb_mapping *mapping = NULL;
	struct pb_buffer *buffer = NULL;
	struct pb_ioas *ioas = NULL;
	struct json_object *description = NULL;
	struct source x = { 0 };
	struct opened s = { 0 };
	struct pb_buffer_info info;
	unsigned int nr_into = 0;
	struct pb_error err;
	int status;

	if (!args->nr_into)
		return misuse("'map' needs a device that is to use the buffer: --into BDF");
	if (args->fd && args->nr_operands)
		return misuse("'map' takes a buffer from --fd or exports one of BDF BAR, and both were given ('%.40s')",
			      args->operands[0]);
	/*
	 * Must be before anything is opened: a new descriptor could get the number of one that was
	 * not inherited.
	 */
	status = args->fd ? take_buffer(args->fd, &buffer) : parse_export(args, &x);
	if (status)
		return status;
	status = open_context(&s, args->nr_into + 1);
	if (!status && !args->fd)
		status = export_buffer(&s, &x, &device, &buffer);
	if (!status)
		status = describe_buffer(buffer, -1, &info, &description);
	if (status)
		goto out;
	if (info.model == PB_UNKNOWN && !(args->map_flags & PB_MAP_UNKNOWN_MODEL)) {
		status = fail(EOPNOTSUPP, "cannot map a buffer of the exporter '%s': its memory "
			      "model is UNKNOWN, so it may move; --allow-unknown maps it anyway",
			      info.exporter);
		goto out;
	}
	into = allocate(args->nr_into, sizeof(*into));
	if (pb_ioas_create(s.iommu, &ioas, &err)) {
		status = report(&err);
		goto out;
	}
	status = attach_devices(&s, args, ioas, into, &nr_into);
	if (status)
		goto out;
	if (pb_map_buffer(ioas, buffer, args->offset, args->length, args->map_flags, args->iova, &mapping, &err)) {
		status = report(&err);
		goto out;
	}
	if (args->command) {
		status = set_variable("PEERBAR_IOVA", true, pb_mapping_iova(mapping));
		if (!status)
			status = set_variable("PEERBAR_LENGTH", true, pb_mapping_length(mapping));
		if (!status)
			status = run_with_buffer(args->command, device, buffer);
		goto out;
	}
	if (args->hold)
		block_signals(0);
	print_mapping(mapping, ioas, args->map_flags, into, nr_into, pb_model_name(info.model), description);
	description = NULL;
	status = flush_output();
	if (!status && args->hold)
		status = hold_mapping(ioas, mapping);
out:
	if (mapping && pb_unmap(mapping, &err) && !status)
		status = report(&err);
	pb_ioas_destroy(ioas);
	free(into);
	json_object_put(description);
	pb_buffer_close(buffer);
	close_all(&s);
	free(x.ranges);
	return status;
}

/* ---- run ---- */

/* Parse --bar and --length to a range of a BAR. */
static int parse_bar(const struct args *args, char *bdf, struct source *x)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), offset = 0;
	struct pb_pci_function f;
	struct pb_error err;
	char why[200];
	int ret;

	if (pbt_parse_bar(args->bar, bdf, &x->bar, &offset, why, sizeof(why)))
		return misuse("cannot take --bar: %s", why);
	ret = pb_pci_get(bdf, &f, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	x->bdf = bdf;
	x->nr_ranges = 1;
	x->ranges = allocate(1, sizeof(*x->ranges));
	x->ranges[0].offset = offset;
	x->ranges[0].length = args->length;
	if (!args->length && f.bars[x->bar].size > offset)
		x->ranges[0].length = (f.bars[x->bar].size - offset) & ~(page - 1);
	/* Too small, or no such BAR: the library reports the error. */
	if (!x->ranges[0].length)
		x->ranges[0].length = page;
	return STATUS_OK;
}

/* Get the part of the buffer to use: all of an exported one. */
static int choose_part(const struct args *args, struct pb_buffer *buffer, uint64_t *offset, uint64_t *length)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = pb_buffer_size(buffer);

	*offset = args->fd ? args->offset : 0;
	if (*offset % page || args->length % page)
		return fail(EINVAL,
			    "cannot use 0x%" PRIx64 " bytes at 0x%" PRIx64
			    " of a buffer: offset and length must be multiples of the page "
			    "size, 0x%" PRIx64,
			    args->length, *offset, page);
	if (*offset >= size || args->length > size - *offset)
		return fail(ERANGE,
			    "cannot use 0x%" PRIx64 " bytes at 0x%" PRIx64
			    " of a buffer: its size is 0x%" PRIx64,
			    args->length, *offset, size);
	*length = args->length ? args->length : size - *offset;
	return STATUS_OK;
}

/* Preload before other libraries. */
static int preload_library(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	size_t size = strlen(library) + (others ? strlen(others) : 0) + 2;
	char *list;
	int ret;

	if (access(library, R_OK))
		return fail(errno, "cannot preload %s: %s; it is installed where peerbar was built with libibverbs", library,
			    strerror(errno));
	list = allocate(size, 1);
	snprintf(list, size, "%s%s%s", library, others && *others ? ":" : "", others && *others ? others : "");
	ret = setenv("LD_PRELOAD", list, 1);
	free(list);
	return ret ? fail(errno, "cannot set LD_PRELOAD in the environment: %s", strerror(errno)) : STATUS_OK;
}

int cmd_run(const struct args *args)
{
	uint64_t offset = 0, length = 0;
	struct pb_buffer *buffer = NULL;
	struct pb_device *device = NULL;
	struct source x = { 0 };
	struct opened s = { 0 };
	struct pb_error err;
	char *bdf = NULL;
	void *window;
	int status;

	if (!args->bar && !args->fd)
		return misuse("'run' takes a BAR, --bar BDF:BAR, or a dma-buf, --fd FD or PID:FD: one of them is needed");
	if (args->bar && args->fd)
		return misuse("'run' takes a BAR, --bar BDF:BAR, or a dma-buf, --fd FD or PID:FD, and both were given ('%.40s' and '%.40s')",
			      args->bar, args->fd);
	if (args->nr_operands)
		return misuse("'run' takes no operand '%.40s'; the command to run comes after '--'", args->operands[0]);
	if (!args->command)
		return misuse("'run' needs a command to run, after '--'");
	if (args->fd && args->nr_memattrs)
		return misuse("--memattr is for --bar: the exporter of a dma-buf chooses its "
			      "memory attribute");
	if (args->bar && args->offset)
		return misuse("--offset is for --fd; with --bar the offset is a part of it, as in 0000:01:00.0:2+16M");
	if (args->fd) {
		status = take_buffer(args->fd, &buffer);
	} else {
		bdf = allocate(strlen(args->bar) + 1, 1);
		status = parse_bar(args, bdf, &x);
		if (!status)
			status = open_context(&s, 1);
		if (!status)
			status = export_buffer(&s, &x, &device, &buffer);
		if (!status && args->nr_memattrs &&
		    pb_buffer_set_memattr(device, buffer, args->memattrs, args->nr_memattrs, NULL, &err))
			status = report(&err);
	}
	if (!status)
		status = choose_part(args, buffer, &offset, &length);
	/* Check now that it can be mapped, not when the program registers memory. */
	if (!status) {
		if (pb_buffer_mmap(buffer, offset, (size_t)length, true, &window, &err))
			status = report(&err);
		else
			munmap(window, (size_t)length);
	}
	if (!status)
		status = preload_library(RUN_LIBRARY);
	if (!status)
		status = set_variable("PEERBAR_OFFSET", true, offset);
	if (!status)
		status = set_variable("PEERBAR_LENGTH", true, length);
	if (!status)
		status = run_with_buffer(args->command, device, buffer);
	pb_buffer_close(buffer);
	close_all(&s);
	free(x.ranges);
	free(bdf);
	return status;
}
