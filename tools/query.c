// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar query */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "buffer.h"

/* Without the buffer's other properties: querying them would wait for the revoke. */
static struct json_object *describe_hanging_buffer(struct pb_importer *list, unsigned int n)
{
	struct json_object *object = json_new(false);

	json_put_number(object, "list_id", list->list_id);
	json_put_string(object, "state", pb_buffer_state_name(list->state));
	json_put(object, "attached", get_importers_json(list, n));
	return object;
}

/* Query the importers first, which never waits. Returns an exit status. */
static int query_buffer(const char *text, bool probe, struct json_object **description)
{
	struct pb_importer *list = NULL;
	struct pb_buffer_info info;
	struct pb_buffer *buffer;
	unsigned int n = 0;
	struct operand_fd operand;
	int status;

	status = take_fd(text, &operand);
	if (status)
		return status;
	/* Fails if the module is not loaded or too old, or the buffer is another exporter's. */
	if (pb_fd_importers(operand.fd, &list, &n, NULL))
		list = NULL;
	/* Close it now, so that a later operand cannot name the descriptor by accident. */
	if (operand.pid)
		close(operand.fd);
	if (list && is_revoke_waiting(list, n)) {
		fputs("peerbar: a revoke of the buffer waits for its importers; its other "
		      "properties are known when the revoke has ended\n",
		      stderr);
		*description = describe_hanging_buffer(list, n);
		free(list);
		return STATUS_OK;
	}
	status = take_buffer(text, &buffer);
	if (!status) {
		status = describe_buffer(buffer, -1, probe, &info, description);
		pb_buffer_close(buffer);
	}
	if (!status)
		json_put(*description, "attached", list ? get_importers_json(list, n) : NULL);
	free(list);
	return status;
}

int cmd_query(const struct args *args)
{
	struct json_object *array, *description;
	unsigned int i;
	int status;

	if (!args->nr_operands)
		return misuse(
			"'query' needs a descriptor: FD of its own, or PID:FD of another process");
	array = json_new(true);
	for (i = 0; i < args->nr_operands; i++) {
		status = query_buffer(args->operands[i], args->probe, &description);
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
