// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The debug log of libpeerbar: failures and ioctls. */
#include "debug-log.h"
#include "internal.h"

bool pb_debug_wants_failures(void)
{
	return debug_log_wants(DEBUG_LOG_FAILURES);
}

void pb_debug_failure(const struct pb_error *err)
{
	debug_log_write(DEBUG_LOG_FAILURES, "error %d: %s", err->code, err->text);
}

void pb_debug_ioctl(int fd, const char *request, int ret)
{
	if (ret < 0)
		debug_log_write(DEBUG_LOG_IOCTLS, "ioctl %s of descriptor %d: error %d", request,
				fd, -ret);
	else
		debug_log_write(DEBUG_LOG_IOCTLS, "ioctl %s of descriptor %d: %d", request, fd,
				ret);
}
