// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Error sentences. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

/*
 * Returns the error to fill in: @spare if the caller wants none, but the debug log does; NULL if
 * neither does.
 */
static struct pb_error *choose_error(struct pb_error *err, struct pb_error *spare)
{
	return err || !pb_debug_wants_failures() ? err : spare;
}

static void set_error(struct pb_error *err, int code, const char *fmt, va_list ap)
{
	if (!err)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

static void __attribute__((format(printf, 2, 3))) append_text(struct pb_error *err, const char *fmt,
							      ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return;
	len = strlen(err->text);
	va_start(ap, fmt);
	vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap);
	va_end(ap);
}

static void log_error(const struct pb_error *err)
{
	if (err)
		pb_debug_failure(err);
}

int pb_fail(struct pb_error *err, int code, const char *fmt, ...)
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

int pb_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
{
	struct pb_error spare;
	va_list ap;

	err = choose_error(err, &spare);
	va_start(ap, fmt);
	set_error(err, code, fmt, ap);
	va_end(ap);
	if (err) {
		char buf[80];
		/* Both are thread-safe. GNU's may return a constant; others have that of POSIX. */
#ifdef __GLIBC__
		const char *why = strerror_r(code, buf, sizeof(buf));
#else
		const char *why = strerror_r(code, buf, sizeof(buf)) ? "unknown" : buf;
#endif

		append_text(err, ": %s", why);
	}
	log_error(err);
	return -code;
}

int pb_fail_driver(struct pb_error *err, const char *bdf, const char *fmt, ...)
{
	struct pb_error spare;
	va_list ap;

	err = choose_error(err, &spare);
	va_start(ap, fmt);
	set_error(err, EOPNOTSUPP, fmt, ap);
	va_end(ap);
	append_text(err,
		    ": this needs the kernel module " PB_DRIVER
		    "; load it and bind the device to it: peerbar bind --driver " PB_DRIVER " %s",
		    *bdf ? bdf : "BDF");
	log_error(err);
	return -EOPNOTSUPP;
}
