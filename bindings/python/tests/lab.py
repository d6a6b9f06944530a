# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The lab's devices, and a fixture that opens the GPU."""
import os
import unittest

import peerbar

GPU = (0x1af4, 0x1110)
EDU = (0x1234, 0x11e8)
BAR = 2
MIB = 1 << 20
RUN = '/lab'


def bdf(role):
    return next(f.bdf for f in peerbar.functions() if (f.vendor, f.device) == role)


def host_bytes(offset, length):
    """What the host sees in the GPU's BAR."""
    with open(os.path.join(RUN, 'gpu.mem'), 'rb') as file:
        file.seek(offset)
        return file.read(length)


class LabTest(unittest.TestCase):
    """Each test has the GPU open, on DRIVER, with decoding on."""

    DRIVER = 'peerbar-vfio-pci'

    def setUp(self):
        peerbar.bind(bdf(GPU), self.DRIVER)
        self.iommu = self.enterContext(peerbar.Iommu())
        self.gpu = self.enterContext(self.iommu.open(bdf(GPU)))
        self.gpu.decoding = True

    def failure(self, number, *words):
        """A context that expects an Error with this errno, whose sentence has these words."""
        test = self

        class Expect:
            def __enter__(self):
                return self

            def __exit__(self, kind, error, trace):
                test.assertIsInstance(error, peerbar.Error, 'it did not fail')
                test.assertEqual(error.errno, number, error)
                for word in words:
                    test.assertIn(word, str(error))
                return True

        return Expect()
