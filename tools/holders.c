// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar revoke, reset: act on other processes' devices and buffers, through their descriptors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define REVOKING_DRIVER "peerbar-vfio-pci"

/* A device that another process has open. */
struct taken {
	struct pb_iommu *iommu;
	struct pb_device *device;
};

/*
 * Duplicate the descriptor of a holder that was listed a moment ago. *copy is -1 if the process has
 * exited or closed it since. Returns an exit status.
 */
static int take_holder(const struct pb_holder *holder, int *copy)
{
	int ret = copy_descriptor(holder->pid, holder->fd);

	*copy = ret < 0 ? -1 : ret;
	if (ret >= 0 || ret == -ESRCH || ret == -EBADF)
		return STATUS_OK;
	return fail_descriptor(holder->pid, holder->fd, -ret);
}

static void release_device(struct taken *taken)
{
	pb_device_close(taken->device);
	pb_iommu_close(taken->iommu);
}

/*
 * Duplicate the device from the first process that has it open. taken->device is NULL if there is
 * none. Returns an exit status.
 */
static int take_device(const char *bdf, struct taken *taken)
{
	struct pb_holder *list;
	struct pb_error err;
	unsigned int i, n;
	int status = STATUS_OK;

	memset(taken, 0, sizeof(*taken));
	if (pb_pci_holders(bdf, &list, &n, &err))
		return report(&err);
	for (i = 0; i < n && !taken->device; i++) {
		int copy, ret;

		if (list[i].kind != PB_HOLDER_DEVICE)
			continue;
		if (!taken->iommu && pb_iommu_open(&taken->iommu, &err)) {
			status = report(&err);
			break;
		}
		status = take_holder(&list[i], &copy);
		if (status)
			break;
		if (copy < 0)
			continue;
		/* An open device that is not bound has no buffers, and cannot be used. */
		ret = pb_device_from_fd(taken->iommu, copy, bdf, &taken->device, &err);
		close(copy);
		if (ret && ret != -EINVAL) {
			status = report(&err);
			break;
		}
	}
	free(list);
	if (status)
		release_device(taken);
	return status;
}

/* ---- revoke ---- */

/* Count the function's buffers that the kernel lists as live or temporarily revoked. */
static int count_alive(const char *bdf, unsigned int *alive)
{
	struct pb_listed *list;
	struct pb_error err;
	unsigned int i, n;

	*alive = 0;
	if (pb_list_buffers(&list, &n, &err))
		return report(&err);
	for (i = 0; i < n; i++)
		*alive += !strcmp(list[i].device, bdf) && list[i].state != PB_BUFFER_DEAD;
	free(list);
	return STATUS_OK;
}

/*
 * Revoke the device's dma-bufs that any process has a descriptor of. They are found by name, which
 * any process can set: the driver rejects those of other devices.
 */
static int revoke_descriptors(const char *bdf, struct pb_device *device)
{
	struct pb_holder *list;
	struct pb_error err;
	unsigned int i, n;
	int status = STATUS_OK;

	if (pb_pci_holders(bdf, &list, &n, &err))
		return report(&err);
	for (i = 0; i < n && !status; i++) {
		struct pb_buffer *buffer;
		int copy, ret;

		if (list[i].kind != PB_HOLDER_BUFFER)
			continue;
		status = take_holder(&list[i], &copy);
		if (status)
			break;
		if (copy < 0)
			continue;
		ret = pb_buffer_from_fd(copy, &buffer, &err);
		close(copy);
		/* It was closed, and its number reused. */
		if (ret == -EINVAL)
			continue;
		if (!ret) {
			ret = pb_buffer_revoke(device, buffer, &err);
			pb_buffer_close(buffer);
		}
		if (ret && ret != -EINVAL && ret != -ENODEV && ret != -EBADF)
			status = report(&err);
	}
	free(list);
	return status;
}

int revoke_function(const char *bdf, unsigned int *revoked, unsigned int *left)
{
	struct pb_pci_function f;
	unsigned int before = 0;
	struct taken taken;
	struct pb_error err;
	int status;

	*revoked = *left = 0;
	if (pb_pci_get(bdf, &f, &err))
		return report(&err);
	if (strcmp(f.driver, REVOKING_DRIVER))
		return fail(EOPNOTSUPP,
			    "cannot revoke the buffers of %s, which is bound to %s: this needs " REVOKING_DRIVER,
			    f.bdf, f.driver[0] ? f.driver : "no driver");
	status = take_device(f.bdf, &taken);
	if (status)
		return status;
	/* Without a process that has the device open, its buffers are dead. */
	if (taken.device) {
		status = count_alive(f.bdf, &before);
		if (!status)
			status = revoke_descriptors(f.bdf, taken.device);
	}
	if (!status)
		status = count_alive(f.bdf, left);
	if (!status && before > *left)
		*revoked = before - *left;
	release_device(&taken);
	return status;
}

int stop_function(const char *bdf)
{
	struct taken taken;
	struct pb_error err;
	int status;

	status = take_device(bdf, &taken);
	if (status)
		return status;
	if (taken.device && pb_device_set_decoding(taken.device, false, &err))
		status = report(&err);
	release_device(&taken);
	return status;
}

/* Get the function that a buffer of peerbar-vfio-pci belongs to. Returns an exit status. */
static int find_function(struct pb_buffer *buffer, const char *operand, char bdf[PB_NAME_LEN])
{
	struct pb_buffer_info info;
	struct pb_listed *list;
	struct pb_error err;
	unsigned int i, n;

	if (pb_buffer_query(buffer, &info, &err))
		return report(&err);
	bdf[0] = '\0';
	if (info.managed) {
		if (pb_list_buffers(&list, &n, &err))
			return report(&err);
		for (i = 0; i < n; i++)
			if (list[i].id == info.list_id)
				memcpy(bdf, list[i].device, PB_NAME_LEN);
		free(list);
	}
	if (!bdf[0])
		return fail(EOPNOTSUPP,
			    "cannot revoke '%.40s': it is a dma-buf of the exporter '%s', and only those of a device that is bound "
			    "to " REVOKING_DRIVER " can be revoked",
			    operand, info.exporter);
	return STATUS_OK;
}

static int revoke_buffer(const char *operand, char bdf[PB_NAME_LEN])
{
	struct pb_buffer *buffer;
	struct taken taken;
	struct pb_error err;
	int status;

	status = take_buffer(operand, &buffer);
	if (status)
		return status;
	status = find_function(buffer, operand, bdf);
	if (!status)
		status = take_device(bdf, &taken);
	if (status) {
		pb_buffer_close(buffer);
		return status;
	}
	/* Without a process that has the device open, the buffer is dead. */
	if (taken.device && pb_buffer_revoke(taken.device, buffer, &err))
		status = report(&err);
	release_device(&taken);
	pb_buffer_close(buffer);
	return status;
}

/* Only the address of a function has a dot. */
static int revoke_operand(const char *operand)
{
	unsigned int revoked = 1, left = 0;
	char bdf[PB_NAME_LEN] = "";
	struct pb_pci_function f;
	struct pb_error err;
	int status, ret;

	if (strchr(operand, '.')) {
		ret = pb_pci_get(operand, &f, &err);
		if (ret) {
			report(&err);
			return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
		}
		snprintf(bdf, sizeof(bdf), "%s", f.bdf);
		status = revoke_function(bdf, &revoked, &left);
	} else {
		status = revoke_buffer(operand, bdf);
	}
	if (status)
		return status;
	if (left)
		return fail(EBUSY,
			    "%u buffers of %s were revoked, and %u were not: no process has "
			    "a descriptor of them, but they are mapped; 'peerbar reset --force %s' "
			    "revokes them temporarily",
			    revoked, bdf, left, bdf);
	if (json_output) {
		struct json_object *object = json_new(false);

		json_put_string(object, "operand", operand);
		json_put_string(object, "bdf", bdf);
		json_put_number(object, "revoked", revoked);
		print_result(object);
	} else if (strchr(operand, '.')) {
		printf("%u buffers of %s are revoked\n", revoked, bdf);
	} else {
		printf("%s, a buffer of %s, is revoked\n", operand, bdf);
	}
	return STATUS_OK;
}

int cmd_revoke(const struct args *args)
{
	unsigned int i;
	int status = STATUS_OK;

	if (!args->nr_operands)
		return misuse(
			"'revoke' needs a buffer, FD or PID:FD, or a device, whose buffers are all revoked: BDF");
	for (i = 0; i < args->nr_operands && !status; i++)
		status = revoke_operand(args->operands[i]);
	return status;
}

/* ---- reset ---- */

static int reset_function(const char *operand, bool force)
{
	struct taken taken = { 0 };
	struct pb_pci_function f;
	struct pb_error err;
	int status, ret;

	ret = pb_pci_get(operand, &f, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	if (pb_iommu_open(&taken.iommu, &err))
		return report(&err);
	ret = pb_device_open(taken.iommu, f.bdf, &taken.device, &err);
	if (ret == -EBUSY && force) {
		pb_iommu_close(taken.iommu);
		status = take_device(f.bdf, &taken);
		if (status)
			return status;
		ret = taken.device ? 0 : -EBUSY;
	}
	if (!ret)
		ret = pb_device_reset(taken.device, &err);
	release_device(&taken);
	if (ret == -EBUSY && !force) {
		size_t len = strlen(err.text);

		snprintf(err.text + len, sizeof(err.text) - len,
			 "; --force resets it under that process");
	}
	if (ret)
		return report(&err);
	if (json_output) {
		struct json_object *object = json_new(false);

		json_put_string(object, "bdf", f.bdf);
		json_put_bool(object, "reset", true);
		print_result(object);
	} else {
		printf("%s was reset\n", f.bdf);
	}
	return STATUS_OK;
}

int cmd_reset(const struct args *args)
{
	unsigned int i;
	int status = STATUS_OK;

	if (!args->nr_operands)
		return misuse("'reset' needs a PCI function BDF, as in 0000:01:00.0");
	for (i = 0; i < args->nr_operands && !status; i++)
		status = reset_function(args->operands[i], args->force);
	return status;
}
