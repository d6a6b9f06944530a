// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Connections: states, unreachable peers, the connection manager, a second link, other hosts. */
#include <arpa/inet.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "rdma-fixture.h"

/* ---- states ---- */

START_TEST(wrong_states)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct address to_b = end_address(&pair.b);
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = 1 };

	/* RESET */
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rts(&pair.a), EINVAL);
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), EINVAL);
	/* A missing attribute; an invalid port. */
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_PORT), EINVAL);
	attr.port_num = 2;
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr,
				       IBV_QP_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX |
					       IBV_QP_ACCESS_FLAGS),
			 EINVAL);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RESET);
	/* INIT */
	ck_assert_int_eq(end_to_init(&pair.a), 0);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rts(&pair.a), EINVAL);
	ck_assert_int_eq(post_receive(&pair.a, 1, NULL, 0), 0);
	/* RTR */
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), 0);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), EINVAL);
	/* RTS: it may send, and failed posts have left no trace. */
	ck_assert_int_eq(end_to_rts(&pair.a), 0);
	/* rxe has kept the request, and sends it now. */
	if (rdma_is_rxe())
		return;
	nothing_completes(&pair.a);
	ck_assert_int_eq(end_to_init(&pair.a), EINVAL);
	end_connect(&pair.b, &(struct address){ pair.a.qp->qp_num, pair.a.psn, pair.a.gid });
	ck_assert_int_eq(post_receive(&pair.b, 4, NULL, 0), 0);
	wr.wr_id = 3;
	done(&pair.a, &wr);
	completes(&pair.b, 4, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);
	wr.wr_id = 5;
	done(&pair.b, &wr);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
}
END_TEST

/* A queue pair in RTR responds to a request, and reports that the connection is established. */
START_TEST(established)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct address to_a = end_address(&pair.a), to_b = end_address(&pair.b);

	ck_assert_int_eq(end_to_init(&pair.b), 0);
	ck_assert_int_eq(end_to_rtr(&pair.b, &to_a), 0);
	ck_assert_int_eq(post_receive(&pair.b, 1, NULL, 0), 0);
	end_connect(&pair.a, &to_b);
	done(&pair.a, &wr);
	completes(&pair.b, 1, IBV_WC_SUCCESS);
	/* Except on rxe. */
	if (!rdma_is_rxe())
		event_comes(&pair.b, IBV_EVENT_COMM_EST);
	ck_assert_int_eq(end_to_rts(&pair.b), 0);
}
END_TEST

/* No host has that address. The network or the device reports that. */
START_TEST(peer_nowhere)
{
	struct address nobody = end_address(&pair.b);
	uint64_t begin = now_ms();
	int ret;

	if (rdma_is_rxe())
		return;
	ck_assert_int_eq(end_to_init(&pair.a), 0);
	ck_assert_int_eq(inet_pton(AF_INET, NOBODY_IP, nobody.gid.raw + 12), 1);
	ret = end_to_rtr(&pair.a, &nobody);
	ck_assert_msg(ret == EHOSTUNREACH || ret == ETIMEDOUT, "%s", strerror(ret));
	ck_assert_uint_lt(now_ms() - begin, 30000);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_INIT);
	/* It can still connect to a reachable peer. */
	nobody = end_address(&pair.b);
	ck_assert_int_eq(end_to_rtr(&pair.a, &nobody), 0);
}
END_TEST

/* ---- the connection manager ---- */

static struct rdma_cm_event *cm_event(struct rdma_event_channel *channel,
				      enum rdma_cm_event_type type)
{
	struct pollfd p = { .fd = channel->fd, .events = POLLIN };
	struct rdma_cm_event *event;

	ck_assert_msg(poll(&p, 1, 20000) == 1, "the connection manager tells no %s",
		      rdma_event_str(type));
	ck_assert_int_eq(rdma_get_cm_event(channel, &event), 0);
	ck_assert_msg(event->event == type, "%s (%d), not %s", rdma_event_str(event->event),
		      event->status, rdma_event_str(type));
	return event;
}

static void cm_wait(struct rdma_event_channel *channel, enum rdma_cm_event_type type)
{
	rdma_ack_cm_event(cm_event(channel, type));
}

static void cm_qp(struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { 8, 8, 1, 1, 16 },
	};

	/* With completion queues that librdmacm creates. */
	ck_assert_msg(!rdma_create_qp(id, NULL, &attr), "no queue pair: %s", strerror(errno));
}

static struct ibv_wc cm_completion(struct ibv_cq *cq)
{
	struct end end = { .cq = cq };

	return completion(&end);
}

START_TEST(connection_manager)
{
	struct rdma_event_channel *of_server = rdma_create_event_channel(),
				  *of_client = rdma_create_event_channel();
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7471) };
	struct rdma_conn_param param = { .responder_resources = 1,
					 .initiator_depth = 1,
					 .retry_count = 7,
					 .rnr_retry_count = 7,
					 .private_data = "hello",
					 .private_data_len = 6 };
	struct rdma_cm_id *listener, *client, *server;
	struct rdma_cm_event *event;
	struct ibv_mr *from, *to;
	static char sent[100], got[100];

	ck_assert_msg(of_server && of_client, "no event channel: %s", strerror(errno));
	inet_pton(AF_INET, NIC0_IP, &addr.sin_addr);
	ck_assert_int_eq(rdma_create_id(of_server, &listener, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_bind_addr(listener, (struct sockaddr *)&addr), 0);
	ck_assert_ptr_nonnull(listener->verbs);
	ck_assert_str_eq(ibv_get_device_name(listener->verbs->device), rdma_name());
	ck_assert_int_eq(rdma_listen(listener, 1), 0);
	ck_assert_int_eq(rdma_create_id(of_client, &client, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_resolve_addr(client, NULL, (struct sockaddr *)&addr, 5000), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(client, 5000), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ROUTE_RESOLVED);
	cm_qp(client);
	ck_assert_int_eq(rdma_connect(client, &param), 0);
	event = cm_event(of_server, RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_str_eq(event->param.conn.private_data, "hello");
	server = event->id;
	rdma_ack_cm_event(event);
	cm_qp(server);
	to = ibv_reg_mr(server->pd, got, sizeof(got), IBV_ACCESS_LOCAL_WRITE);
	from = ibv_reg_mr(client->pd, sent, sizeof(sent), 0);
	ck_assert(to && from);
	{
		struct ibv_sge s = { (uintptr_t)got, sizeof(got), to->lkey };
		struct ibv_recv_wr wr = { .wr_id = 1, .sg_list = &s, .num_sge = 1 }, *bad;

		ck_assert_int_eq(ibv_post_recv(server->qp, &wr, &bad), 0);
	}
	ck_assert_int_eq(rdma_accept(server, &param), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ESTABLISHED);
	cm_wait(of_server, RDMA_CM_EVENT_ESTABLISHED);
	lab_pattern(sent, sizeof(sent), 1);
	{
		struct ibv_sge s = { (uintptr_t)sent, sizeof(sent), from->lkey };
		struct ibv_send_wr wr = work(2, IBV_WR_SEND, &s, 1, NULL, 0), *bad;

		ck_assert_int_eq(ibv_post_send(client->qp, &wr, &bad), 0);
	}
	ck_assert_int_eq(cm_completion(client->send_cq).status, IBV_WC_SUCCESS);
	ck_assert_int_eq(cm_completion(server->recv_cq).status, IBV_WC_SUCCESS);
	ck_assert_mem_eq(got, sent, sizeof(got));
	ck_assert_int_eq(rdma_disconnect(client), 0);
	cm_wait(of_server, RDMA_CM_EVENT_DISCONNECTED);
	rdma_disconnect(server);
	cm_wait(of_client, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert_int_eq(ibv_dereg_mr(to) | ibv_dereg_mr(from), 0);
	rdma_destroy_qp(client);
	rdma_destroy_qp(server);
	ck_assert_int_eq(rdma_destroy_id(server) | rdma_destroy_id(client) |
				 rdma_destroy_id(listener),
			 0);
	rdma_destroy_event_channel(of_server);
	rdma_destroy_event_channel(of_client);
}
END_TEST

/* No process listens on that port. */
START_TEST(connection_refused)
{
	struct rdma_event_channel *channel = rdma_create_event_channel();
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7999) };
	struct rdma_conn_param param = { .retry_count = 7 };
	struct rdma_cm_id *id;

	inet_pton(AF_INET, NIC0_IP, &addr.sin_addr);
	ck_assert_int_eq(rdma_create_id(channel, &id, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_resolve_addr(id, NULL, (struct sockaddr *)&addr, 5000), 0);
	cm_wait(channel, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(id, 5000), 0);
	cm_wait(channel, RDMA_CM_EVENT_ROUTE_RESOLVED);
	cm_qp(id);
	ck_assert_int_eq(rdma_connect(id, &param), 0);
	cm_wait(channel, RDMA_CM_EVENT_REJECTED);
	rdma_destroy_qp(id);
	ck_assert_int_eq(rdma_destroy_id(id), 0);
	rdma_destroy_event_channel(channel);
}
END_TEST

/* ---- links ---- */

/* Two devices on two NICs reach each other. A removed device is gone for its users. */
START_TEST(second_link)
{
	struct end_options on_second = { .device = "pb1" };
	struct end x, y;
	struct mem mem, there;
	struct ibv_send_wr wr;
	struct ibv_sge from;
	int i;

	if (rdma_is_rxe())
		return;
	ck_assert_int_ne(rdma_link_add(rdma_name(), 1), 0); /* the name is taken */
	ck_assert_int_eq(rdma_link_add("pb1", 1), 0);
	/* The GIDs follow the addresses. */
	for (i = 0; i < 100; i++) {
		if (!system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*"))
			break;
		usleep(100000);
	}
	end_open(&x, NULL);
	end_open(&y, &on_second);
	mem = mem_new(&x, PAGE, ALL_ACCESS);
	there = mem_new(&y, PAGE, ALL_ACCESS);
	ends_connect(&x, &y);
	lab_pattern(mem.p, PAGE, 1);
	from = sge(&mem, 0, PAGE);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &there, 0);
	done(&x, &wr);
	ck_assert_mem_eq(mem.p, there.p, PAGE);
	/* Remove it while it is in use. */
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	event_comes(&y, IBV_EVENT_DEVICE_FATAL);
	ck_assert_ptr_null(ibv_alloc_pd(y.ctx));
	wr.wr_id = 2;
	ck_assert_int_eq(post(&x, &wr), 0);
	completes(&x, 2, IBV_WC_RETRY_EXC_ERR);
	/* Its objects can be released, as far as any are left. */
	ibv_dereg_mr(there.mr);
	munmap(there.p, PAGE);
	ibv_destroy_qp(y.qp);
	ibv_destroy_cq(y.cq);
	ibv_dealloc_pd(y.pd);
	ck_assert_int_eq(ibv_close_device(y.ctx), 0);
	mem_free(&mem);
	end_close(&x);
	ck_assert_int_ne(rdma_link_del("pb1"), 0);
}
END_TEST

__attribute__((format(printf, 1, 2))) static void in_shell(const char *format, ...)
{
	char command[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	ck_assert_msg(!system(command), "this failed: %s", command);
}

START_TEST(other_host_and_container)
{
	struct end_options on_second = { .device = "pb1" };
	struct address there;
	struct ibv_send_wr wr;
	struct offer theirs;
	struct ibv_sge from;
	int i, sock, child;
	char netdev[64];
	struct end end;
	struct mem mem;

	if (rdma_is_rxe())
		return;
	nic_name(1, netdev, sizeof(netdev));
	in_shell("ip netns add lab && ip link set %s netns lab && ip -n lab addr add " OTHER_HOST_IP
		 "/24 dev %s",
		 netdev, netdev);
	in_shell("ip -n lab link set %s up && ip -n lab link set lo up", netdev);
	/* The address answers, but has no verbs device: requests are not acknowledged. */
	end_open(&end, NULL);
	there = end_address(&end);
	ck_assert_int_eq(inet_pton(AF_INET, OTHER_HOST_IP, there.gid.raw + 12), 1);
	for (i = 0; i < 50 && system("busybox ping -c 1 -W 1 " OTHER_HOST_IP " >/dev/null 2>&1");
	     i++)
		usleep(100000);
	end.timeout = 10;
	end.retries = 2;
	end_connect(&end, &there);
	wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	fails(&end, &wr, IBV_WC_RETRY_EXC_ERR);
	end_close(&end);
	/* A container with a device on this host is reachable. */
	in_shell("ip netns exec lab rdma link add pb1 type peerbar netdev %s", netdev);
	child = fork_with_socket(&sock);
	if (!child) {
		enter_netns();
		for (i = 0; i < 100 &&
		     system("grep -qi ffff:0a4d:0002 /sys/class/infiniband/pb1/ports/1/gids/*");
		     i++)
			usleep(100000);
	}
	end_open(&end, child ? NULL : &on_second);
	mem = mem_new(&end, PAGE, ALL_ACCESS);
	trade(sock, &end, &mem, &theirs);
	if (!child) {
		char byte;

		receive_all(sock, &byte, 1);
		lab_pattern(&there, sizeof(there), 7);
		_exit(memcmp(mem.p + 10, &there, sizeof(there)) != 0);
	}
	lab_pattern(mem.p, sizeof(there), 7);
	from = sge(&mem, 0, sizeof(there));
	wr = write_of(&from, &theirs, 10);
	done(&end, &wr);
	send_all(sock, "d", 1);
	ck_assert_int_eq(wait_for(child), 0);
	mem_free(&mem);
	end_close(&end);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	/* The NIC returns when its namespace is gone. */
	ck_assert_int_eq(system("ip netns del lab"), 0);
	for (i = 0; i < 100 && access("/sys/class/net/eth1", F_OK); i++)
		usleep(100000);
	rdma_nic_up(1);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "states", 120, unconnected_up, pair_down);

	tcase_add_test(t, wrong_states);
	tcase_add_test(t, established);
	tcase_add_test(t, peer_nowhere);
	t = rdma_case(s, "processes", 120, NULL, NULL);
	tcase_add_test(t, connection_manager);
	tcase_add_test(t, connection_refused);
	tcase_add_test(t, second_link);
	tcase_add_test(t, other_host_and_container);
}
