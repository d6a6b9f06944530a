/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Why a call failed. */
#ifndef PEERBAR_ERROR_H
#define PEERBAR_ERROR_H

#include <peerbar/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct pb_error - why a call failed
 * @code: the errno, positive; 0 in an unused error
 * @text: one sentence, without a newline, NUL-terminated
 */
struct pb_error {
	int code;
	char text[380];
};

#ifdef __cplusplus
}
#endif

#endif
