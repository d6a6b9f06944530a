// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The debug log of the provider: verbs that fail, and commands to the kernel. */
#include "../../lib/debug-log.h"
#include "provider.h"

int pv_fail(struct ibv_context *context, const char *verb, int code, const char *fmt, ...)
{
	int saved = errno;
	char text[400];
	va_list ap;

	if (!debug_log_wants(DEBUG_LOG_FAILURES))
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	debug_log_write(DEBUG_LOG_FAILURES, "error %d: %s() of %s: %s", code, verb,
			context->device->name, text);
	errno = saved;
	return code;
}

int pv_log_command(struct ibv_context *context, const char *command, int ret)
{
	if (ret)
		debug_log_write(DEBUG_LOG_IOCTLS, "command %s of %s: error %d", command,
				context->device->name, ret);
	else
		debug_log_write(DEBUG_LOG_IOCTLS, "command %s of %s: 0", command,
				context->device->name);
	return ret;
}

void *pv_alloc(struct ibv_context *context, const char *verb, size_t size)
{
	void *object = calloc(1, size);

	if (!object)
		pv_fail(context, verb, ENOMEM, "no memory for its object");
	return object;
}
