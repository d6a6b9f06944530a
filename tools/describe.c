// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The description of a buffer. */
#include <stdlib.h>

#include "buffer.h"

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

/* Add what the exporter can do and where the memory is, each with how it is known. */
static void describe_facts(const struct pb_buffer_info *info, struct json_object *object)
{
	bool located = info->place == PB_PLACE_BAR && info->place_bdf[0];

	json_put_string(object, "can_pin", pb_answer_name(info->can_pin));
	json_put_string(object, "can_pin_basis", pb_model_basis_name(info->can_pin_basis));
	json_put_string(object, "can_revoke", pb_answer_name(info->can_revoke));
	json_put_string(object, "can_revoke_basis", pb_model_basis_name(info->can_revoke_basis));
	json_put_string(object, "place", pb_place_name(info->place));
	json_put_string(object, "place_basis", pb_model_basis_name(info->place_basis));
	json_put_string(object, "place_bdf", info->place_bdf);
	if (located) {
		json_put_number(object, "place_bar", info->place_bar);
		json_put_number(object, "place_offset", info->place_offset);
	} else {
		json_put(object, "place_bar", NULL);
		json_put(object, "place_offset", NULL);
	}
	if (info->asked)
		json_put_bool(object, "migrates", info->migrates);
	else
		json_put(object, "migrates", NULL);
	json_put_string(object, "driver", info->driver);
}

/* Add the fields that only the kernel module peerbar reports; null without it. */
static void describe_module_fields(const struct pb_buffer_info *info, struct json_object *object)
{
	struct json_object *faults;

	json_put_string(object, "state", pb_buffer_state_name(info->state));
	json_put_string(object, "state_basis", pb_model_basis_name(info->state_basis));
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

int describe_buffer(struct pb_buffer *buffer, int fd, bool probe, struct pb_buffer_info *info,
		    struct json_object **description)
{
	struct json_object *object, *ranges;
	struct pb_error err;

	if (probe ? pb_buffer_probe(buffer, info, &err) : pb_buffer_query(buffer, info, &err))
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
	describe_facts(info, object);
	describe_module_fields(info, object);
	*description = object;
	return STATUS_OK;
}
