// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar capabilities */
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

int cmd_capabilities(const struct args *args)
{
	struct pb_capability *list;
	struct pb_error err;
	unsigned int abi, i, n;
	int name = 0;

	if (args->nr_operands)
		return misuse("'capabilities' takes no operand, and '%.40s' was given",
			      args->operands[0]);
	if (pb_capabilities(&list, &n, &err))
		return report(&err);
	if (json_output) {
		struct json_object *object = json_new(false), *array = json_new(true);

		abi = pb_module_abi();
		if (abi)
			json_put_number(object, "abi", abi);
		else
			json_put(object, "abi", NULL);
		for (i = 0; i < n; i++) {
			struct json_object *c = json_new(false);

			json_put_string(c, "name", list[i].name);
			json_put_bool(c, "there", list[i].there);
			json_put_string(c, "purpose", list[i].purpose);
			json_put_string(c, "missing", list[i].missing);
			json_append(array, c);
		}
		json_put(object, "capabilities", array);
		free(list);
		print_result(object);
		return STATUS_OK;
	}
	for (i = 0; i < n; i++)
		name = width(name, list[i].name);
	for (i = 0; i < n; i++) {
		printf("%-*s  %-3s  %s\n", name, list[i].name, list[i].there ? "yes" : "no",
		       list[i].purpose);
		if (!list[i].there)
			printf("%-*s       missing: %s\n", name, "", list[i].missing);
	}
	free(list);
	return STATUS_OK;
}
