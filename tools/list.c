// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar list */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

void make_listed_printable(struct pb_listed *b)
{
	unsigned int i;

	make_printable(b->exporter);
	make_printable(b->device);
	make_printable(b->name);
	for (i = 0; i < b->nr_importer_names; i++)
		make_printable(b->importer_names[i]);
}

void put_listed(struct json_object *object, const struct pb_listed *b)
{
	json_put_number(object, "id", b->id);
	json_put_string(object, "exporter", b->exporter);
	json_put_string(object, "device", b->device);
	json_put_string(object, "name", b->name);
	json_put_number(object, "size", b->size);
	json_put_string(object, "model", pb_model_name(b->model));
	json_put_string(object, "state", pb_buffer_state_name(b->state));
	json_put_memattr(object, "memattr", b->memattr);
	json_put_number(object, "nr_ranges", b->nr_ranges);
}

static struct json_object *get_listed_json(const struct pb_listed *b)
{
	struct json_object *object = json_new(false), *extents, *importers;
	unsigned int i;

	put_listed(object, b);
	json_put_number(object, "nr_importers", b->nr_importers);
	json_put_number(object, "nr_mmaps", b->nr_mmaps);
	json_put_string(object, "can_pin", pb_answer_name(b->can_pin));
	json_put_string(object, "can_revoke", pb_answer_name(b->can_revoke));
	json_put_string(object, "place", pb_place_name(b->place));
	if (b->place == PB_PLACE_BAR) {
		json_put_number(object, "bar", b->bar);
		json_put_number(object, "bar_offset", b->bar_offset);
	} else {
		json_put(object, "bar", NULL);
		json_put(object, "bar_offset", NULL);
	}
	if (!b->creator) {
		json_put(object, "creator", NULL);
		json_put(object, "extents", NULL);
		json_put(object, "importers", NULL);
		return object;
	}
	json_put_number(object, "creator", b->creator);
	extents = json_new(true);
	for (i = 0; i < b->nr_extents; i++) {
		struct json_object *extent = json_new(false);

		json_put_number(extent, "start", b->extents[i].start);
		json_put_number(extent, "length", b->extents[i].length);
		json_append(extents, extent);
	}
	json_put(object, "extents", extents);
	importers = json_new(true);
	for (i = 0; i < b->nr_importer_names; i++)
		json_append(importers, json_object_new_string(b->importer_names[i]));
	json_put(object, "importers", importers);
	return object;
}

static void print_table(const struct pb_listed *list, unsigned int n)
{
	int device = 6, name = 4; /* for the headings */
	char size[32], memattr[32];
	unsigned int i;

	for (i = 0; i < n; i++) {
		device = width(device, list[i].device);
		name = width(name, list[i].name);
	}
	printf("%4s  %-*s  %-*s  %10s  %-9s  %-7s  %-7s  %6s  %9s  %5s  %s\n", "ID", device,
	       "DEVICE", name, "NAME", "SIZE", "MODEL", "STATE", "MEMATTR", "RANGES", "IMPORTERS",
	       "MMAPS", "EXPORTER");
	for (i = 0; i < n; i++) {
		const struct pb_listed *b = &list[i];

		printf("%4" PRIu64 "  %-*s  %-*s  %10s  %-9s  %-7s  %-7s  %6u  %9u  %5u  %s\n",
		       b->id, device, or_dash(b->device), name, or_dash(b->name),
		       human_size(b->size, size), pb_model_name(b->model),
		       pb_buffer_state_name(b->state), memattr_text(b->memattr, memattr),
		       b->nr_ranges, b->nr_importers, b->nr_mmaps, or_dash(b->exporter));
	}
}

/*
 * List the importers first, which never waits, and the buffers unless that would wait for a revoke.
 * Returns an exit status; *@done if nothing more is to be printed.
 */
static int list_importers(struct json_object **object, bool *done)
{
	struct pb_importer *list;
	struct pb_error err;
	unsigned int n;

	if (pb_list_importers(&list, &n, &err))
		return report(&err);
	*done = is_revoke_waiting(list, n);
	if (json_output) {
		*object = json_new(false);
		json_put(*object, "importers", get_all_importers_json(list, n));
	} else {
		print_importers(list, n);
		putchar('\n');
	}
	if (*done) {
		fputs("peerbar: a revoke waits for an importer; the buffers can be listed when it "
		      "has ended\n",
		      stderr);
		if (json_output) {
			json_put(*object, "buffers", NULL);
			print_result(*object);
		}
	}
	free(list);
	return flush_output();
}

int cmd_list(const struct args *args)
{
	struct json_object *array, *object = NULL;
	struct pb_listed *list;
	bool done = false;
	int status;
	struct pb_error err;
	unsigned int i, n;

	if (args->nr_operands)
		return misuse("'list' takes no operand, and '%.40s' was given", args->operands[0]);
	if (args->verbose) {
		status = list_importers(&object, &done);
		if (status || done)
			return status;
	}
	if (pb_list_buffers(&list, &n, &err)) {
		json_object_put(object);
		return report(&err);
	}
	for (i = 0; i < n; i++)
		make_listed_printable(&list[i]);
	if (json_output) {
		array = json_new(true);
		for (i = 0; i < n; i++)
			json_append(array, get_listed_json(&list[i]));
		if (object)
			json_put(object, "buffers", array);
		print_result(object ? object : array);
	} else {
		print_table(list, n);
	}
	free(list);
	return STATUS_OK;
}
