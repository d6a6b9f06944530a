/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The configuration that rdma-core's private headers expect. configure reads IBVERBS_PABI_VERSION
 * from rdma-core's source.
 */
#ifndef PEERBAR_PROVIDER_CONFIG_H
#define PEERBAR_PROVIDER_CONFIG_H

#define HAVE_STATEMENT_EXPR		  1
#define HAVE_BUILTIN_TYPES_COMPATIBLE_P	  1
#define HAVE_TYPEOF			  1
#define HAVE_ISBLANK			  1
#define HAVE_BUILTIN_CLZ		  1
#define HAVE_BUILTIN_CLZL		  1
#define HAVE_FUNC_ATTRIBUTE_ALWAYS_INLINE 1

/* Use ioctl(), and write() for commands without an ioctl. */
#define VERBS_IOCTL_ONLY 0
#define VERBS_WRITE_ONLY 0

#endif
