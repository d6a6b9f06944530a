// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar devices, bind, unbind */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist.h"

static bool is_memory(const struct pb_pci_bar *bar)
{
	return bar->memory && bar->size;
}

static bool has_memory(const struct pb_pci_function *f)
{
	unsigned int i;

	for (i = 0; i < PB_BARS; i++)
		if (is_memory(&f->bars[i]))
			return true;
	return false;
}

static struct json_object *get_function_json(const struct pb_pci_function *f)
{
	struct json_object *object = json_new(false), *bars = json_new(true);
	char text[16];
	unsigned int i;

	json_put_string(object, "bdf", f->bdf);
	snprintf(text, sizeof(text), "%04x", f->vendor);
	json_put_string(object, "vendor", text);
	snprintf(text, sizeof(text), "%04x", f->device);
	json_put_string(object, "device", text);
	snprintf(text, sizeof(text), "%06x", f->pci_class);
	json_put_string(object, "class", text);
	json_put_string(object, "driver", f->driver);
	json_put_string(object, "cdev", f->cdev);
	if (f->iommu_group < 0)
		json_put(object, "iommu_group", NULL);
	else
		json_put_number(object, "iommu_group", (uint64_t)f->iommu_group);
	for (i = 0; i < PB_BARS; i++) {
		struct json_object *bar;

		if (!is_memory(&f->bars[i]))
			continue;
		bar = json_new(false);
		json_put_number(bar, "index", i);
		json_put_number(bar, "size", f->bars[i].size);
		json_put_bool(bar, "prefetchable", f->bars[i].prefetchable);
		json_append(bars, bar);
	}
	json_put(object, "bars", bars);
	return object;
}

static void print_table(const struct pb_pci_function *list, unsigned int n)
{
	int bdf = 7, driver = 6, cdev = 4; /* for the headings */
	unsigned int i, b;

	for (i = 0; i < n; i++) {
		bdf = width(bdf, list[i].bdf);
		driver = width(driver, list[i].driver);
		cdev = width(cdev, list[i].cdev);
	}
	printf("%-*s  %-9s  %-*s  %-*s  %5s  %s\n", bdf, "ADDRESS", "ID", driver, "DRIVER", cdev,
	       "CDEV", "GROUP", "MEMORY BARS");
	for (i = 0; i < n; i++) {
		const struct pb_pci_function *f = &list[i];
		const char *separator = "";
		char text[32];

		snprintf(text, sizeof(text), "%d", f->iommu_group);
		printf("%-*s  %04x:%04x  %-*s  %-*s  %5s  ", bdf, f->bdf, f->vendor, f->device,
		       driver, or_dash(f->driver), cdev, or_dash(f->cdev),
		       f->iommu_group < 0 ? "-" : text);
		for (b = 0; b < PB_BARS; b++) {
			if (!is_memory(&f->bars[b]))
				continue;
			printf("%s%u: %s%s", separator, b, human_size(f->bars[b].size, text),
			       f->bars[b].prefetchable ? " prefetchable" : "");
			separator = ", ";
		}
		puts(*separator ? "" : "-");
	}
}

/*
 * Get the functions of the operands, all or none; without operands, all that have a memory BAR.
 * Returns an exit status.
 */
static int find_functions(const struct args *args, struct pb_pci_function **functions,
			  unsigned int *nr)
{
	struct pb_pci_function *list;
	struct pb_error err;
	unsigned int i, n;
	int ret;

	*nr = 0;
	if (!args->nr_operands) {
		if (pb_pci_list(functions, &n, &err))
			return report(&err);
		list = *functions;
		for (i = 0; i < n; i++)
			if (has_memory(&list[i]))
				list[(*nr)++] = list[i];
		return STATUS_OK;
	}
	list = allocate(args->nr_operands, sizeof(*list));
	for (i = 0; i < args->nr_operands; i++) {
		ret = pb_pci_get(args->operands[i], &list[i], &err);
		if (ret) {
			free(list);
			report(&err);
			return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
		}
	}
	*functions = list;
	*nr = i;
	return STATUS_OK;
}

static void print_functions_json(const struct pb_pci_function *list, unsigned int n)
{
	struct json_object *array = json_new(true);
	unsigned int i;

	for (i = 0; i < n; i++)
		json_append(array, get_function_json(&list[i]));
	print_result(array);
}

int cmd_devices(const struct args *args)
{
	struct pb_pci_function *list;
	unsigned int n;
	int status;

	status = find_functions(args, &list, &n);
	if (status)
		return status;
	if (json_output)
		print_functions_json(list, n);
	else
		print_table(list, n);
	free(list);
	return STATUS_OK;
}

static int change_driver(const char *bdf, const char *driver, bool force, struct pb_error *err)
{
	int ret;

	if (!driver)
		return pb_pci_unbind(bdf, err);
	ret = pb_pci_bind(bdf, driver, err);
	if (ret != -EPERM || !force)
		return ret;
	fprintf(stderr,
		"peerbar: warning: %.40s is not for %s, and is bound to it anyway: it may "
		"crash the kernel\n",
		driver, bdf);
	return pb_pci_bind_flags(bdf, driver, PB_BIND_FORCE, err);
}

/*
 * Retry until no process has the device open. Unlike the kernel's own wait, this can be
 * interrupted. Print the processes it waits for whenever they change, and the time every ten
 * seconds.
 */
static int change_unused(const char *bdf, const char *driver, bool force, struct pb_error *err)
{
	struct pb_error told = { 0 };
	unsigned int seconds;
	int ret, sig = 0;

	block_signals(0);
	for (seconds = 0;; seconds++) {
		ret = change_driver(bdf, driver, force, err);
		if (ret != -EBUSY)
			return ret;
		make_printable(err->text);
		if (strcmp(told.text, err->text))
			fprintf(stderr, "peerbar: waiting: %s\n", err->text);
		else if (seconds % 10 == 0)
			fprintf(stderr, "peerbar: waiting for %u s\n", seconds);
		told = *err;
		sig = wait_for_signal(0, 1);
		if (sig)
			break;
	}
	err->code = EINTR;
	snprintf(err->text, sizeof(err->text),
		 "waiting for %s was ended by signal %d (%s); its driver is the one that it had",
		 bdf, sig, strsignal(sig));
	return -EINTR;
}

/* Before unbinding from peerbar-vfio-pci, revoke the buffers. Returns an exit status. */
static int revoke_first(const struct pb_pci_function *f)
{
	unsigned int revoked, left;
	int status;

	if (!f->cdev[0])
		return STATUS_OK;
	status = revoke_function(f->bdf, &revoked, &left);
	if (!status && left)
		status = stop_function(f->bdf);
	if (!status)
		fprintf(stderr, "peerbar: %u buffers of %s were revoked permanently%s\n", revoked,
			f->bdf, left ? ", and the others by turning its memory decoding off" : "");
	return status;
}

/* Write or remove the rule that binds the function at boot. Returns an exit status. */
static int keep_binding(const struct args *args, const struct pb_pci_function *f,
			const char *driver)
{
	if (args->persist)
		return driver ? persist_binding(f, driver) : forget_binding(f->bdf);
	if (!driver && is_persistent(f->bdf))
		fprintf(stderr,
			"peerbar: note: %s will be bound again at the next boot; 'unbind --persist' ends that\n",
			f->bdf);
	return STATUS_OK;
}

/* Change the driver of each function, and print the result. @driver is NULL to unbind. */
static int change_drivers(const struct args *args, const char *driver)
{
	int (*change)(const char *bdf, const char *driver, bool force,
		      struct pb_error *err) = args->wait ? change_unused : change_driver;
	struct pb_pci_function *list;
	bool tried_module = false;
	struct pb_error err;
	unsigned int i, n;
	int status, ret;

	if (!args->nr_operands)
		return misuse("'%s' needs a PCI function BDF, as in 0000:01:00.0",
			      driver ? "bind" : "unbind");
	if (driver && !driver[0])
		return misuse("cannot take --driver '': it names no driver; vfio-pci is one");
	status = find_functions(args, &list, &n);
	if (status)
		return status;
	for (i = 0; i < n; i++) {
		const char *bdf = list[i].bdf;

		if (args->revoke && (!driver || strcmp(list[i].driver, driver))) {
			status = revoke_first(&list[i]);
			if (status)
				break;
		}
		ret = change(bdf, driver, args->force, &err);
		if (ret == -ENOENT && driver && !tried_module) {
			tried_module = true;
			if (load_module(driver))
				ret = change(bdf, driver, args->force, &err);
		}
		if (!ret)
			ret = pb_pci_get(args->operands[i], &list[i], &err);
		if (!ret)
			status = keep_binding(args, &list[i], driver);
		if (status)
			break;
		if (ret) {
			report(&err);
			/* The functions exist, so the driver's name is invalid. */
			status = ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
			break;
		}
		if (json_output)
			continue;
		if (list[i].driver[0])
			printf("%s is bound to %s\n", list[i].bdf, list[i].driver);
		else
			printf("%s is bound to no driver\n", list[i].bdf);
	}
	if (json_output && !status)
		print_functions_json(list, n);
	free(list);
	return status;
}

int cmd_bind(const struct args *args)
{
	return change_drivers(args, args->driver ? args->driver : "vfio-pci");
}

int cmd_unbind(const struct args *args)
{
	return change_drivers(args, NULL);
}
