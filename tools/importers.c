// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The importers of buffers, as text and JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "tool.h"

/* "12.3 s" */
static const char *get_seconds_text(uint64_t ns, char text[32])
{
	snprintf(text, 32, "%" PRIu64 ".%u s", ns / 1000000000,
		 (unsigned int)(ns / 100000000 % 10));
	return text;
}

static void make_importer_printable(struct pb_importer *importer)
{
	make_printable(importer->buffer);
	make_printable(importer->device);
	make_printable(importer->driver);
	make_printable(importer->timeline);
}

static struct json_object *get_importer_json(const struct pb_importer *importer)
{
	struct json_object *object = json_new(false);
	bool fence = importer->kind == PB_IMPORTER_FENCE;

	json_put_string(object, "kind", fence ? "fence" : "device");
	json_put_string(object, "device", importer->device);
	json_put_string(object, "driver", importer->driver);
	json_put_number(object, "id", importer->id);
	json_put_bool(object, "waited_for", importer->waited_for);
	json_put_number(object, "waited_ns", importer->waited_ns);
	if (fence) {
		json_put_string(object, "timeline", importer->timeline);
		json_put_number(object, "context", importer->context);
		return object;
	}
	json_put_number(object, "bytes", importer->bytes);
	json_put_number(object, "maps", importer->nr_maps);
	json_put_bool(object, "addresses", importer->addresses);
	json_put_bool(object, "revocable", importer->revocable);
	json_put_bool(object, "pinned", importer->pinned);
	json_put_number(object, "attached_ns", importer->attached_ns);
	json_put_number(object, "mapped_ns", importer->mapped_ns);
	return object;
}

/* "0000:06:00.0 (mlx5_core): 2M mapped for 12.3 s; a revoke has waited for it for 4.5 s" */
static void describe_importer(const struct pb_importer *importer, char *text, size_t size)
{
	char bytes[32], age[32], wait[32], waited[80] = "";

	if (importer->waited_for)
		snprintf(waited, sizeof(waited), "; a revoke has waited for it for %s",
			 get_seconds_text(importer->waited_ns, wait));
	if (importer->kind == PB_IMPORTER_FENCE)
		snprintf(text, size, "fence of %s, timeline %s, number %" PRIu64 "%s",
			 or_dash(importer->driver), or_dash(importer->timeline), importer->id,
			 waited);
	else if (importer->nr_maps || importer->addresses)
		snprintf(text, size, "%s (%s): %s %s for %s%s", or_dash(importer->device),
			 or_dash(importer->driver), human_size(importer->bytes, bytes),
			 importer->nr_maps ? "mapped" : "known by address",
			 get_seconds_text(importer->mapped_ns, age), waited);
	else
		snprintf(text, size, "%s (%s): attached for %s, nothing mapped",
			 or_dash(importer->device), or_dash(importer->driver),
			 get_seconds_text(importer->attached_ns, age));
}

bool is_revoke_waiting(const struct pb_importer *list, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (list[i].waited_for)
			return true;
	return false;
}

struct json_object *get_importers_json(struct pb_importer *list, unsigned int n)
{
	struct json_object *array = json_new(true);
	char text[512];
	unsigned int i;

	for (i = 0; i < n; i++) {
		make_importer_printable(&list[i]);
		if (json_output) {
			json_append(array, get_importer_json(&list[i]));
		} else {
			describe_importer(&list[i], text, sizeof(text));
			json_append(array, json_object_new_string(text));
		}
	}
	return array;
}

struct json_object *get_all_importers_json(struct pb_importer *list, unsigned int n)
{
	struct json_object *array = json_new(true), *object;
	unsigned int i;

	for (i = 0; i < n; i++) {
		make_importer_printable(&list[i]);
		object = get_importer_json(&list[i]);
		json_put_number(object, "list_id", list[i].list_id);
		json_put_string(object, "buffer", list[i].buffer);
		json_put_string(object, "state", pb_buffer_state_name(list[i].state));
		json_append(array, object);
	}
	return array;
}

void print_importers(struct pb_importer *list, unsigned int n)
{
	char text[512];
	unsigned int i;
	int name = 4; /* for the heading */

	for (i = 0; i < n; i++) {
		make_importer_printable(&list[i]);
		name = width(name, list[i].buffer);
	}
	printf("%4s  %-*s  %-7s  %s\n", "ID", name, "NAME", "STATE", "IMPORTER");
	for (i = 0; i < n; i++) {
		describe_importer(&list[i], text, sizeof(text));
		printf("%4" PRIu64 "  %-*s  %-7s  %s\n", list[i].list_id, name,
		       or_dash(list[i].buffer), pb_buffer_state_name(list[i].state), text);
	}
}
