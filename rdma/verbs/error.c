// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Error sentences, also for the debug log. */
#include <stdarg.h>
#include <stdio.h>

#include "debug-log.h"
#include "internal.h"

/* As in libpeerbar: the caller's, one for the debug log alone, or NULL. */
static struct pb_error *choose_error(struct pb_error *err, struct pb_error *spare)
{
	return err || !debug_log_wants(DEBUG_LOG_FAILURES) ? err : spare;
}

static void log_error(const struct pb_error *err)
{
	if (err)
		debug_log_write(DEBUG_LOG_FAILURES, "error %d: %s", err->code, err->text);
}

static void set_error(struct pb_error *err, int code, const char *fmt, va_list ap)
{
	if (!err)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int pbv_fail(struct pb_error *err, int code, const char *fmt, ...)
{
	struct pb_error spare;
	va_list ap;

	err = choose_error(err, &spare);
	va_start(ap, fmt);
	set_error(err, code, fmt, ap);
	va_end(ap);
	log_error(err);
	return -code;
}

int pbv_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
{
	struct pb_error spare;
	va_list ap;

	err = choose_error(err, &spare);
	va_start(ap, fmt);
	set_error(err, code, fmt, ap);
	va_end(ap);
	if (err) {
		size_t len = strlen(err->text);
		char buf[80];
		/* The GNU strerror_r(): thread-safe, and may return a constant. */
		const char *why = strerror_r(code, buf, sizeof(buf));

		snprintf(err->text + len, sizeof(err->text) - len, ": %s", why);
	}
	log_error(err);
	return -code;
}
