// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar map */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "buffer.h"

static void print_mapping(const struct pb_mapping *mapping, const struct pb_ioas *ioas,
			  unsigned int flags, struct pb_device *const *into, unsigned int nr_into,
			  const char *model, struct json_object *buffer)
{
	struct json_object *object = json_new(false), *devices = json_new(true);
	unsigned int i;

	json_put_number(object, "iova", pb_mapping_iova(mapping));
	json_put_number(object, "length", pb_mapping_length(mapping));
	json_put_string(object, "prot",
			!(flags & PB_MAP_WRITE)	    ? "r" :
				flags & PB_MAP_READ ? "rw" :
						      "w");
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

/* Whether the module is loaded that maps buffers whatever their model. */
static bool any_model_is_mapped(void)
{
	struct pb_capability *list;
	unsigned int n;
	bool there;

	if (pb_capabilities(&list, &n, NULL))
		return false;
	there = n > PB_CAP_IOMMUFD_SHIM && list[PB_CAP_IOMMUFD_SHIM].there;
	free(list);
	return there;
}

/* Report why the buffer cannot be mapped, with the option that may help. */
static int report_refusal(const struct args *args, const struct pb_buffer_info *info,
			  const struct pb_error *err)
{
	if (err->code != EOPNOTSUPP || info->model != PB_UNKNOWN ||
	    args->map_flags & PB_MAP_UNKNOWN_MODEL || any_model_is_mapped())
		return report(err);
	return fail(EOPNOTSUPP,
		    "cannot map a buffer of the exporter '%s': its memory model is UNKNOWN, so it may "
		    "move; --allow-unknown maps it anyway",
		    info->exporter);
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
	status = args->fd ? take_buffer(args->fd, &buffer) : parse_source(args, &x);
	if (status)
		return status;
	status = open_context(&s, args->nr_into + 1);
	if (!status && !args->fd)
		status = export_buffer(&s, &x, &device, &buffer);
	if (!status)
		status = describe_buffer(buffer, -1, true, &info, &description);
	if (status)
		goto out;
	into = allocate(args->nr_into, sizeof(*into));
	if (pb_ioas_create(s.iommu, &ioas, &err)) {
		status = report(&err);
		goto out;
	}
	status = attach_devices(&s, args, ioas, into, &nr_into);
	if (status)
		goto out;
	if (pb_map_buffer(ioas, buffer, args->offset, args->length, args->map_flags, args->iova,
			  &mapping, &err)) {
		status = report_refusal(args, &info, &err);
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
	print_mapping(mapping, ioas, args->map_flags, into, nr_into, pb_model_name(info.model),
		      description);
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
	close_devices(&s);
	free(x.ranges);
	return status;
}
