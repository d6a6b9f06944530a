// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar query */
#include <stdio.h>

#include "buffer.h"

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
