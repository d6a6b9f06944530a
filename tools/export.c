// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar export */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "buffer.h"

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

	status = parse_source(args, &x);
	if (status)
		return status;
	status = open_context(&s, 1);
	if (!status)
		status = export_buffer(&s, &x, &device, &buffer);
	if (!status && args->nr_memattrs &&
	    pb_buffer_set_memattr(device, buffer, args->memattrs, args->nr_memattrs, NULL, &err))
		status = report(&err);
	if (status)
		goto out;
	if (args->command) {
		status = run_with_buffer(args->command, device, buffer);
		goto out;
	}
	fd = pb_buffer_fd(buffer);
	status = describe_buffer(buffer, fd, false, &info, &description);
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
	close_devices(&s);
	free(x.ranges);
	return status;
}
