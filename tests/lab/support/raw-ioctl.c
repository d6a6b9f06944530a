// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The kernel's interfaces without the library, see raw-ioctl.h. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peerbar.h"
#include "raw-ioctl.h"

/* ---- descriptors ---- */

int raw_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int raw_ioctl(int fd, unsigned long cmd, const void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

int raw_send(int sock, const void *data, size_t size, int fd)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int raw_receive(int sock, void *data, size_t size, int *fd)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return (int)n;
}

unsigned int raw_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}

int raw_write_file(const char *path, const char *word)
{
	size_t n = strlen(word);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, word, n) != (ssize_t)n)
		ret = -errno;
	close(fd);
	return ret;
}

long raw_read_number(const char *path)
{
	char text[32] = "";
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? strtol(text, NULL, 0) : -1;
}

/* ---- drivers ---- */

void raw_driver(const char *bdf, char *name, size_t size)
{
	char path[96], target[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		n = 0;
	target[n] = '\0';
	snprintf(name, size, "%s", strrchr(target, '/') ? strrchr(target, '/') + 1 : "");
}

int raw_unbind(const char *bdf)
{
	char path[96];
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", bdf);
	ret = raw_write_file(path, bdf);
	/* The function had no driver, or has just lost it. */
	return ret == -ENOENT || ret == -ENODEV ? 0 : ret;
}

int raw_bind(const char *bdf, const char *driver)
{
	char path[96], name[64];
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	ret = raw_write_file(path, driver);
	if (!ret)
		ret = raw_write_file("/sys/bus/pci/drivers_probe", bdf);
	if (ret)
		return ret;
	raw_driver(bdf, name, sizeof(name));
	return strcmp(name, driver) ? -ENODEV : 0;
}

/* ---- iommufd ---- */

int raw_ioas(int iommufd, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = raw_ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);

	*ioas = alloc.out_ioas_id;
	return ret;
}

int raw_map_file(int iommufd, uint32_t ioas, int dmabuf, uint64_t start, uint64_t length,
		 uint32_t flags, uint64_t *iova)
{
	struct iommu_ioas_map_file map = { .size = sizeof(map),
					   .flags = flags,
					   .ioas_id = ioas,
					   .fd = dmabuf,
					   .start = start,
					   .length = length,
					   .iova = *iova };
	int ret = raw_ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map);

	*iova = map.iova;
	return ret;
}

int raw_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = length
	};

	return raw_ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

/* ---- VFIO devices ---- */

int raw_open_cdev(const char *bdf)
{
	struct pb_pci_function f;
	int ret;

	ret = pb_pci_get(bdf, &f, NULL);
	if (ret)
		return ret;
	return f.cdev[0] ? raw_open(f.cdev) : -ENXIO;
}

int raw_bind_iommufd(int device, int iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };

	return raw_ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
}

int raw_attach_ioas(int device, uint32_t ioas)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = ioas };

	return raw_ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int raw_detach_ioas(int device)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return raw_ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int raw_region(int device, unsigned int index, uint64_t *offset, uint64_t *size)
{
	struct vfio_region_info region = { .argsz = sizeof(region), .index = index };
	int ret = raw_ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region);

	*offset = region.offset;
	*size = region.size;
	return ret;
}

int raw_feature(int device, uint32_t flags, void *payload, size_t size)
{
	struct {
		struct vfio_device_feature header;
		uint64_t payload[32];
	} request = {
		.header = { .argsz = (uint32_t)(sizeof(request.header) + size), .flags = flags },
	};
	int ret;

	if (size > sizeof(request.payload))
		return -E2BIG;
	memcpy(request.header.data, payload, size);
	ret = raw_ioctl(device, VFIO_DEVICE_FEATURE, &request);
	memcpy(payload, request.header.data, size);
	return ret;
}

int raw_export(int device, unsigned int bar, const struct raw_range *ranges, unsigned int n,
	       uint32_t open_flags)
{
	uint64_t room[2 + 2 * RAW_RANGES];
	struct vfio_device_feature_dma_buf *request = (void *)room;
	unsigned int i;

	if (n > RAW_RANGES)
		return -E2BIG;
	request->region_index = bar;
	request->open_flags = open_flags;
	request->flags = 0;
	request->nr_ranges = n;
	for (i = 0; i < n; i++) {
		request->dma_ranges[i].offset = ranges[i].offset;
		request->dma_ranges[i].length = ranges[i].length;
	}
	return raw_feature(device, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF, room,
			   16 + 16 * (size_t)n);
}

int raw_cookie(int device, unsigned int bar, uint64_t offset, uint64_t length, uint32_t memattr,
	       uint64_t *mmap_offset)
{
	struct peerbar_vfio_mmap_cookie cookie = { .region_index = bar,
						   .nr_ranges = 1,
						   .offset = offset,
						   .length = length,
						   .memattr = memattr };
	int ret = raw_feature(device,
			      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE,
			      &cookie, sizeof(cookie));

	*mmap_offset = cookie.mmap_offset;
	return ret;
}

int raw_revoke(int device, int dmabuf)
{
	struct peerbar_vfio_revoke revoke = { .dmabuf_fd = dmabuf };

	return raw_feature(device, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PEERBAR_REVOKE,
			   &revoke, sizeof(revoke));
}

int raw_set_memattr(int device, int dmabuf, uint32_t memattr)
{
	struct peerbar_vfio_memattr set = { .dmabuf_fd = dmabuf, .memattr = memattr };

	return raw_feature(device, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
			   &set, sizeof(set));
}

int raw_get_memattr(int device, int dmabuf, uint32_t *memattr)
{
	struct peerbar_vfio_memattr get = { .dmabuf_fd = dmabuf };
	int ret = raw_feature(device, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
			      &get, sizeof(get));

	*memattr = get.memattr;
	return ret;
}

/* Change bits of a 16-bit register. */
static int change_config(int device, uint64_t at, uint16_t clear, uint16_t set)
{
	uint16_t value;

	if (pread(device, &value, sizeof(value), (off_t)at) != sizeof(value))
		return -errno;
	value = (uint16_t)((value & ~clear) | set);
	return pwrite(device, &value, sizeof(value), (off_t)at) == sizeof(value) ? 0 : -errno;
}

int raw_decoding(int device, uint64_t config, bool on)
{
	return change_config(device, config + PCI_COMMAND, PCI_COMMAND_MEMORY,
			     on ? PCI_COMMAND_MEMORY : 0);
}

int raw_power(int device, uint64_t config, unsigned int pm, bool on)
{
	return change_config(device, config + pm + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK, on ? 0 : 3);
}

unsigned int raw_find_cap(int device, uint64_t config, uint8_t id)
{
	unsigned int left = 48; /* no more fit */
	uint8_t at, cap[2];

	if (pread(device, &at, 1, (off_t)(config + PCI_CAPABILITY_LIST)) != 1)
		return 0;
	for (at &= 0xfc; at && left; left--, at = cap[1] & 0xfc) {
		if (pread(device, cap, 2, (off_t)(config + at)) != 2)
			return 0;
		if (cap[0] == id)
			return at;
	}
	return 0;
}

int raw_reset(int device)
{
	return raw_ioctl(device, VFIO_DEVICE_RESET, NULL);
}

int raw_hot_reset(int device)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };

	return raw_ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, &reset);
}

/* ---- /dev/peerbar and the test devices ---- */

int raw_query(int peerbar, int dmabuf, struct peerbar_query *query)
{
	memset(query, 0, sizeof(*query));
	query->size = sizeof(*query);
	query->fd = dmabuf;
	return raw_ioctl(peerbar, PEERBAR_QUERY, query);
}

int raw_test_export(int exporter, uint32_t source, uint32_t model, const uint64_t *lengths,
		    unsigned int n)
{
	struct peerbar_test_export arg = { .source = source, .model = model, .nr_ranges = n };
	unsigned int i;

	for (i = 0; i < n && i < PEERBAR_TEST_RANGES; i++)
		arg.lengths[i] = lengths[i];
	return raw_ioctl(exporter, PEERBAR_TEST_EXPORT, &arg);
}

int raw_test_io(int exporter, int dmabuf, bool write, uint64_t offset, void *data, size_t length)
{
	struct peerbar_test_io io = {
		.fd = dmabuf, .offset = offset, .length = length, .data = (uintptr_t)data
	};

	return raw_ioctl(exporter, write ? PEERBAR_TEST_WRITE : PEERBAR_TEST_READ, &io);
}

int raw_test_move(int exporter, int dmabuf)
{
	struct peerbar_test_move move = { .fd = dmabuf, .place = PEERBAR_TEST_PLACE_THERE };

	return raw_ioctl(exporter, PEERBAR_TEST_MOVE, &move);
}

int raw_test_access(int exporter, int dmabuf, unsigned long cmd)
{
	struct peerbar_test_fd arg = { .fd = dmabuf };

	return raw_ioctl(exporter, cmd, &arg);
}

int raw_test_attach(int importer, int dmabuf, uint32_t kind, uint32_t flags, uint32_t delay_ms,
		    const char *bdf)
{
	struct peerbar_test_attach attach = {
		.fd = dmabuf, .kind = kind, .flags = flags, .delay_ms = delay_ms
	};

	snprintf(attach.device, sizeof(attach.device), "%s", bdf);
	return raw_ioctl(importer, PEERBAR_TEST_ATTACH, &attach);
}

int raw_test_map(int importer, uint32_t handle)
{
	struct peerbar_test_map map = { .handle = handle };

	return raw_ioctl(importer, PEERBAR_TEST_MAP, &map);
}

int raw_test_handle(int importer, uint32_t handle, unsigned long cmd)
{
	struct peerbar_test_handle arg = { .handle = handle };

	return raw_ioctl(importer, cmd, &arg);
}

/* ---- generic netlink ---- */

#define GENL_ROOM 65536

/* Call @each for every attribute. */
static void each_attr(const void *data, size_t length,
		      void (*each)(void *arg, unsigned int type, const void *value, size_t n),
		      void *arg)
{
	const char *p = data;

	while (length >= NLA_HDRLEN) {
		const struct nlattr *a = (const void *)p;
		size_t step = NLA_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > length)
			return;
		each(arg, a->nla_type & NLA_TYPE_MASK, p + NLA_HDRLEN,
		     a->nla_len - (size_t)NLA_HDRLEN);
		if (step >= length)
			return;
		p += step;
		length -= step;
	}
}

static void copy_word(void *to, size_t size, const void *from, size_t n)
{
	memcpy(to, from, n < size ? n : size);
}

static void buffer_attr(void *arg, unsigned int type, const void *value, size_t n)
{
	struct raw_buffer *b = arg;

	switch (type) {
	case PEERBAR_A_ID:
		copy_word(&b->id, sizeof(b->id), value, n);
		break;
	case PEERBAR_A_EXPORTER:
		copy_word(b->exporter, sizeof(b->exporter) - 1, value, n);
		break;
	case PEERBAR_A_DEVICE:
		copy_word(b->device, sizeof(b->device) - 1, value, n);
		break;
	case PEERBAR_A_NAME:
		copy_word(b->name, sizeof(b->name) - 1, value, n);
		break;
	case PEERBAR_A_SIZE:
		copy_word(&b->size, sizeof(b->size), value, n);
		break;
	case PEERBAR_A_MODEL:
		copy_word(&b->model, sizeof(b->model), value, n);
		break;
	case PEERBAR_A_STATE:
		copy_word(&b->state, sizeof(b->state), value, n);
		break;
	case PEERBAR_A_MEMATTR:
		copy_word(&b->memattr, sizeof(b->memattr), value, n);
		break;
	case PEERBAR_A_NR_RANGES:
		copy_word(&b->nr_ranges, sizeof(b->nr_ranges), value, n);
		break;
	case PEERBAR_A_NR_IMPORTERS:
		copy_word(&b->importers, sizeof(b->importers), value, n);
		break;
	case PEERBAR_A_NR_MMAPS:
		copy_word(&b->mmaps, sizeof(b->mmaps), value, n);
		break;
	case PEERBAR_A_CREATOR:
		copy_word(&b->creator, sizeof(b->creator), value, n);
		break;
	case PEERBAR_A_RANGE:
		b->ranges_told++;
		break;
	case PEERBAR_A_IMPORTER:
		b->importers_told++;
		break;
	}
}

static void parse_buffer(const struct nlmsghdr *h, struct raw_buffer *b)
{
	memset(b, 0, sizeof(*b));
	if (h->nlmsg_len >= NLMSG_HDRLEN + GENL_HDRLEN)
		each_attr((const char *)h + NLMSG_HDRLEN + GENL_HDRLEN,
			  h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN, buffer_attr, b);
}

struct family {
	uint16_t id;
	uint32_t group;
};

static void group_attr(void *arg, unsigned int type, const void *value, size_t n)
{
	if (type == CTRL_ATTR_MCAST_GRP_ID)
		copy_word(arg, sizeof(uint32_t), value, n);
}

/* The family has one group. */
static void groups_attr(void *arg, unsigned int type, const void *value, size_t n)
{
	(void)type;
	each_attr(value, n, group_attr, arg);
}

static void family_attr(void *arg, unsigned int type, const void *value, size_t n)
{
	struct family *f = arg;

	if (type == CTRL_ATTR_FAMILY_ID)
		copy_word(&f->id, sizeof(f->id), value, n);
	if (type == CTRL_ATTR_MCAST_GROUPS)
		each_attr(value, n, groups_attr, &f->group);
}

static int genl_request(struct raw_genl *g, uint16_t family, uint16_t flags, uint8_t cmd,
			uint16_t type, const void *value, size_t n)
{
	struct {
		struct nlmsghdr h;
		struct genlmsghdr genl;
		struct nlattr a;
		char value[64];
	} m = {
		.h = { .nlmsg_type = family,
		       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
		       .nlmsg_seq = ++g->seq },
		.genl = { .cmd = cmd, .version = 1 },
	};
	size_t size = NLMSG_HDRLEN + GENL_HDRLEN;

	if (n) {
		m.a.nla_type = type;
		m.a.nla_len = (uint16_t)(NLA_HDRLEN + n);
		memcpy(m.value, value, n);
		size += NLA_HDRLEN + NLA_ALIGN(n);
	}
	m.h.nlmsg_len = (uint32_t)size;
	return send(g->fd, &m, size, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Receive the answer; return the error if there was one. */
static int genl_reply(struct raw_genl *g, void *room)
{
	const struct nlmsghdr *h = room;
	ssize_t n;

	do {
		n = recv(g->fd, room, GENL_ROOM, 0);
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(*h))
			return -EBADMSG;
	} while (h->nlmsg_seq != g->seq);
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)((const char *)room + NLMSG_HDRLEN))->error;
	return (int)n;
}

int raw_genl_open(struct raw_genl *g, bool events)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	struct family f = { 0 };
	char *room;
	int ret;

	memset(g, 0, sizeof(*g));
	g->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (g->fd < 0)
		return -errno;
	room = malloc(GENL_ROOM);
	ret = room ? 0 : -ENOMEM;
	if (!ret && bind(g->fd, (struct sockaddr *)&addr, sizeof(addr)))
		ret = -errno;
	if (!ret)
		ret = genl_request(g, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
				   PEERBAR_GENL_NAME, sizeof(PEERBAR_GENL_NAME));
	if (!ret)
		ret = genl_reply(g, room);
	if (ret > 0) {
		each_attr(room + NLMSG_HDRLEN + GENL_HDRLEN,
			  (size_t)ret - NLMSG_HDRLEN - GENL_HDRLEN, family_attr, &f);
		g->family = f.id;
		g->group = f.group;
		ret = 0;
		if (events &&
		    setsockopt(g->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &g->group,
			       sizeof(g->group)))
			ret = -errno;
	}
	free(room);
	if (ret)
		close(g->fd);
	return ret;
}

int raw_genl_get(struct raw_genl *g, uint64_t id, struct raw_buffer *buffer)
{
	char *room = malloc(GENL_ROOM);
	int ret;

	if (!room)
		return -ENOMEM;
	ret = genl_request(g, g->family, 0, PEERBAR_CMD_BUFFER_GET, PEERBAR_A_ID, &id, sizeof(id));
	if (!ret)
		ret = genl_reply(g, room);
	if (ret > 0) {
		parse_buffer((void *)room, buffer);
		ret = 0;
	}
	free(room);
	return ret;
}

int raw_genl_dump(struct raw_genl *g, void (*each)(void *arg, const struct raw_buffer *buffer),
		  void *arg)
{
	char *room = malloc(GENL_ROOM);
	struct raw_buffer buffer;
	int n = 0, ret;

	if (!room)
		return -ENOMEM;
	ret = genl_request(g, g->family, NLM_F_DUMP, PEERBAR_CMD_BUFFER_GET, 0, NULL, 0);
	while (!ret) {
		struct nlmsghdr *h = (void *)room;
		int left;

		ret = genl_reply(g, room);
		if (ret < 0)
			break;
		for (left = ret, ret = 0; NLMSG_OK(h, (unsigned int)left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE) {
				memcpy(&ret, NLMSG_DATA(h), sizeof(ret));
				free(room);
				return ret < 0 ? ret : n;
			}
			parse_buffer(h, &buffer);
			if (each)
				each(arg, &buffer);
			n++;
		}
	}
	free(room);
	return ret;
}

int raw_genl_event(struct raw_genl *g, struct raw_buffer *buffer)
{
	char room[2048];
	const struct nlmsghdr *h = (void *)room;
	ssize_t n;

	n = recv(g->fd, room, sizeof(room), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN) || h->nlmsg_len > (size_t)n)
		return -EBADMSG;
	parse_buffer(h, buffer);
	return ((const struct genlmsghdr *)(room + NLMSG_HDRLEN))->cmd;
}

/* ---- random numbers ---- */

uint64_t raw_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}
