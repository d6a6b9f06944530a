# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""pyverbs on pb0, with regions of a BAR and of a udmabuf; then rdma-core's own tests of DmaBufMR, unmodified, on both."""
import errno
import itertools
import os
import sys
import unittest

import peerbar
from lab import BAR, MIB, LabTest, host_bytes
from peerbar.verbs import DmaBuf
from pyverbs import enums as e
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR, DmaBufMR
from pyverbs.pd import PD
from pyverbs.pyverbs_error import PyverbsRDMAError
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, SendWR

ACCESS = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ
SOURCE = '/usr/src/rdma-core'


class Verbs(LabTest):
    def setUp(self):
        super().setUp()
        self.context = Context(name='pb0')
        self.pd = PD(self.context)
        self.cq = CQ(self.context, 16)
        self.queue = self.connected()
        self.source = MR(self.pd, 4096, ACCESS)

    def connected(self):
        """A queue pair that is connected to itself."""
        attributes = QPInitAttr(qp_type=e.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=QPCap(max_send_wr=8, max_recv_wr=8))
        state = QPAttr(port_num=1)
        state.qp_access_flags = ACCESS
        queue = QP(self.pd, attributes, state)
        state.path_mtu = e.IBV_MTU_1024
        state.dest_qp_num = queue.qp_num
        state.max_dest_rd_atomic = state.max_rd_atomic = 1
        state.min_rnr_timer, state.timeout, state.retry_cnt, state.rnr_retry = 12, 14, 7, 7
        gid = next(i for i in range(8) if str(self.context.query_gid(1, i)) not in ('', '0000:0000:0000:0000:0000:0000:0000:0000'))
        state.ah_attr = AHAttr(port_num=1, is_global=1, gr=GlobalRoute(dgid=self.context.query_gid(1, gid), sgid_index=gid))
        queue.to_rts(state)
        return queue

    def rdma_write(self, data, region, offset):
        """Write to a region; return the status of the completion."""
        self.source.write(data, len(data))
        work = SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[SGE(self.source.buf, len(data), self.source.lkey)],
                      send_flags=e.IBV_SEND_SIGNALED)
        work.set_wr_rdma(region.rkey, offset)
        self.queue.post_send(work)
        while True:
            count, completions = self.cq.poll()
            if count:
                return completions[0].status

    def test_region_of_a_bar(self):
        with self.gpu.export(BAR, [(0, MIB)]) as buffer:
            region = DmaBufMR(self.pd, MIB, ACCESS, DmaBuf.of(buffer))
            self.assertEqual(self.rdma_write(b'from Python, by pb0', region, 8192), e.IBV_WC_SUCCESS)
            self.assertEqual(host_bytes(8192, 19), b'from Python, by pb0')
            self.assertEqual([i.bytes for i in buffer.importers()], [MIB])
            self.gpu.revoke(buffer)
            self.assertNotEqual(self.rdma_write(b'too late', region, 8192), e.IBV_WC_SUCCESS)
            self.assertEqual(host_bytes(8192, 19), b'from Python, by pb0')
            region.close()
            with self.assertRaises(PyverbsRDMAError) as caught:
                DmaBufMR(self.pd, MIB, ACCESS, DmaBuf.of(buffer))
            self.assertIn('dma-buf', str(caught.exception))

    def test_region_of_a_udmabuf(self):
        with DmaBuf.udmabuf(MIB) as buffer:
            self.assertEqual((buffer.size, buffer.query().exporter), (MIB, 'udmabuf'))
            with DmaBufMR(self.pd, MIB, ACCESS, buffer) as region:
                self.assertEqual(self.rdma_write(b'into memory', region, 0), e.IBV_WC_SUCCESS)
            self.assertEqual(buffer.read(11, 0), b'into memory')
        with self.assertRaises(peerbar.Error) as caught:
            DmaBuf(os.open('/dev/null', os.O_RDONLY))
        self.assertEqual(caught.exception.errno, errno.EINVAL)


# ---- rdma-core's tests, which allocate from graphics cards: give them an allocator of ours

class Allocator:
    """What the tests call instead of pyverbs' DmaBuf and DmaBufMR."""

    make = None

    @classmethod
    def buffer(cls, size, gpu=0, gtt=0):
        return cls.make(size)

    class Region(DmaBufMR):
        def __init__(self, pd, length, access, dmabuf=None, offset=0, gpu=0, gtt=0):
            self.ours = dmabuf or Allocator.make(length + offset)
            self.at = offset
            super().__init__(pd, length, access, self.ours, offset)

        def write(self, data, length, offset=0):
            self.ours.write(data, length, self.at + offset)

        def read(self, length, offset):
            return self.ours.read(length, self.at + offset)


def rdma_core_tests():
    sys.argv = ['run_tests.py', '--dev', 'pb0']
    sys.path[:0] = [SOURCE, f'{SOURCE}/tests']
    sys.dont_write_bytecode = True
    from args_parser import parser
    parser.parse_args()
    from tests import test_mr
    test_mr.DmaBuf, test_mr.DmaBufMR = Allocator.buffer, Allocator.Region
    return test_mr


class RdmaCore(LabTest):
    def run_with(self, make):
        test_mr = rdma_core_tests()
        Allocator.make = staticmethod(make)
        result = unittest.TestResult()
        for case in (test_mr.DmaBufMRTest, test_mr.DmaBufTestCase):
            unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        for test, text in result.failures + result.errors:
            print(f'{test.id()}: {text}')
        self.assertTrue(result.wasSuccessful(), [test.id() for test, _ in result.failures + result.errors])
        self.assertEqual([why for _, why in result.skipped], [])
        self.assertEqual(result.testsRun, 10)

    def test_on_a_bar(self):
        # A different part for each: two sides must not have the same memory.
        parts = itertools.cycle(range(16))

        def make(size):
            page = 4096
            with self.gpu.export(BAR, [(next(parts) * 8 * MIB, -(-size // page) * page)]) as buffer:
                return DmaBuf.of(buffer)
        self.run_with(make)

    def test_on_udmabuf(self):
        self.run_with(DmaBuf.udmabuf)


if __name__ == '__main__':
    unittest.main()
