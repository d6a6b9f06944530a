// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Error sentences, and the debug log. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "run-with-debug-log.h"
#include "unit.h"

/* ---- the debug log ---- */

/* What the test below executes: a failure, one without a struct pb_error, and an ioctl. */
int fail_for_debug_log(void)
{
	struct pb_error err;

	pb_fail(&err, EINVAL, "the number %d is wrong", 7);
	pb_fail_errno(NULL, ENOENT, "cannot open it");
	pb_ioctl(-1, FIONREAD, NULL);
	return errno == EBADF ? 0 : 1;
}

START_TEST(the_debug_log)
{
	char text[4096], path[] = "/tmp/peerbar-unit-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	/* Nothing is printed unless the user asks for it. */
	run_for_debug_log(NULL, NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log(NULL, path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("0", NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("yes", NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("1", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 2);
	ck_assert_ptr_nonnull(strstr(text, ": error 22: the number 7 is wrong\n"));
	ck_assert_ptr_nonnull(
		strstr(text, ": error 2: cannot open it: No such file or directory\n"));
	run_for_debug_log("2", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 3);
	ck_assert_ptr_nonnull(strstr(text, ": ioctl FIONREAD of descriptor -1: error 9\n"));
	/* A file is appended to, and stderr stays empty. */
	run_for_debug_log("1", path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("2", path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	ck_assert_int_gt(pb_read_file(path, text, sizeof(text)), 0);
	ck_assert_uint_eq(count_lines(text), 5);
	/* A file that cannot be opened is no reason to write to stderr. */
	run_for_debug_log("2", "/proc/none/none", text, sizeof(text));
	ck_assert_str_eq(text, "");
	unlink(path);
	close(fd);
}
END_TEST

/* ---- errors ---- */

START_TEST(errors_are_sentences)
{
	struct pb_error err;
	char longer[600];

	ck_assert_int_eq(pb_fail(&err, EINVAL, "the number %d is wrong", 7), -EINVAL);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_str_eq(err.text, "the number 7 is wrong");
	ck_assert_int_eq(pb_fail_errno(&err, ENOENT, "cannot open it"), -ENOENT);
	ck_assert_str_eq(err.text, "cannot open it: No such file or directory");
	/* The error is optional. */
	ck_assert_int_eq(pb_fail(NULL, EIO, "x"), -EIO);
	ck_assert_int_eq(pb_fail_errno(NULL, EIO, "x"), -EIO);
	/* The error names the missing module, and how to get it. */
	ck_assert_int_eq(pb_fail_driver(&err, "0000:01:00.0", "cannot do %s", "it"), -EOPNOTSUPP);
	ck_assert_int_eq(err.code, EOPNOTSUPP);
	ck_assert_str_eq(err.text,
			 "cannot do it: this needs the kernel module peerbar-vfio-pci; load it and bind the device to it: "
			 "peerbar bind --driver peerbar-vfio-pci 0000:01:00.0");
	ck_assert_int_eq(pb_fail_driver(NULL, "", "x"), -EOPNOTSUPP);
	/* A long message is truncated. */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(pb_fail_errno(&err, EIO, "%s", longer), -EIO);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

void add_error_tests(TCase *t)
{
	tcase_add_test(t, the_debug_log);
	tcase_add_test(t, errors_are_sentences);
}
