// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Error sentences. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static void set_error(struct pb_error *err, int code, const char *fmt, va_list ap)
{
	if (!err)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int pbv_fail(struct pb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_error(err, code, fmt, ap);
	va_end(ap);
	return -code;
}

int pbv_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

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
	return -code;
}
