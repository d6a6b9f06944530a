// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! Tests that need the lab's GPU on peerbar-vfio-pci. Elsewhere they do nothing but the first one.

use peerbar::*;
use std::os::fd::AsFd;
use std::time::Duration;

const BAR: u32 = 2;
const MIB: u64 = 1 << 20;

fn gpu() -> Option<(Iommu, Device)> {
    let found = functions().ok()?.into_iter().find(|f| f.vendor == 0x1af4 && f.device == 0x1110)?;
    std::env::var("LAB").ok()?;
    bind(&found.bdf, "peerbar-vfio-pci", false).unwrap();
    let iommu = Iommu::open().unwrap();
    let device = iommu.open_device(&found.bdf).unwrap();
    device.set_decoding(true).unwrap();
    Some((iommu, device))
}

#[test]
fn threads_may_share_all() {
    fn check<T: Send + Sync>() {}
    check::<(Iommu, Device, Buffer, Ioas, Mapping, Guest, GuestDevice, Watch, Memory, Error)>();
}

#[test]
fn layout_is_that_of_c() {
    let Ok(path) = std::env::var("PEERBAR_LAYOUT") else { return };
    let ours: Vec<_> = peerbar_sys::LAYOUT.iter().map(|(name, n)| format!("{name} {n}")).collect();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(ours, text.lines().collect::<Vec<_>>());
}

// One test, because there is one GPU.
#[test]
fn devices() {
    let Some((iommu, device)) = gpu() else { return };
    let watch = Watch::open().unwrap();
    let buffer = device.export(BAR, &[range(0, MIB), range(4 * MIB, MIB)]).unwrap();
    let info = buffer.query().unwrap();
    assert_eq!((info.size, info.bar, info.model), (2 * MIB, 2, Model::REVOCABLE));
    assert_eq!(buffer.ranges().len(), 2);
    let probed = buffer.probe().unwrap();
    assert_eq!((probed.id, probed.model, probed.place), (info.id, Model::REVOCABLE, Place::BAR));
    let other = Buffer::from_fd(buffer.as_fd()).unwrap();
    assert_eq!(other.id(), buffer.id());

    let memory = other.mmap(0, 2 << 20, true).unwrap();
    memory.write(5, b"from Rust");
    let mut bytes = [0; 9];
    memory.read(5, &mut bytes);
    assert_eq!(&bytes, b"from Rust");
    device.read(BAR, 5, &mut bytes).unwrap();
    assert_eq!(&bytes, b"from Rust");

    assert_eq!(device.memattr(&buffer).unwrap(), Memattr::NC);
    assert_eq!(device.set_memattr(&buffer, &[Memattr::WB, Memattr::WC]).unwrap(), Memattr::WC);
    assert_eq!(device.memattr(&buffer).unwrap(), Memattr::WC);
    let cookie = device.cookie(BAR, 0, 4096, Memattr::WC).unwrap();
    let combining = device.mmap_at(cookie, 4096, false).unwrap();
    combining.read(5, &mut bytes);
    assert_eq!(&bytes, b"from Rust");
    assert_eq!(device.mmap_at(cookie, 8192, false).unwrap_err().code(), 22);
    drop(combining);

    let ioas = iommu.create_ioas().unwrap();
    ioas.attach(&device).unwrap();
    assert!(!ioas.aperture().unwrap().is_empty());
    let page = ioas.alignment().unwrap();
    assert_eq!(page, 4096);
    let between = 0x1000_0000 + page / 2;
    let error = ioas.map(&buffer, 0, 0, Access::Read, Some(between)).unwrap_err();
    assert_eq!(error.code(), 22);
    let mapping = ioas.map(&buffer, 0, 0, Access::ReadWrite, Some(0x1000_0000)).unwrap();
    assert_eq!((mapping.iova(), mapping.length()), (0x1000_0000, 2 * MIB));
    let error = ioas.map(&buffer, 0, 0, Access::Read, Some(0x1000_0000)).unwrap_err();
    assert_eq!(error.code(), 17);
    device.set_decoding(false).unwrap();
    assert_eq!(mapping.state(), State::REVOKED);
    assert_eq!(ioas.next_revoked(), Some(mapping.id()));
    assert_eq!(ioas.next_revoked(), None);
    device.set_decoding(true).unwrap();
    mapping.restore().unwrap();
    let single = device.export(BAR, &[range(0, MIB)]).unwrap();
    let another = ioas.map(&single, 0, 0, Access::Read, None).unwrap();
    let importers = single.importers().unwrap();
    assert_eq!(importers.iter().map(|i| i.bytes).collect::<Vec<_>>(), [MIB]);
    drop(another);
    drop(single);
    let listed = list_buffers().unwrap();
    let listed = listed.iter().find(|b| b.id == info.list_id).unwrap();
    assert_eq!(listed.extents.iter().map(|e| e.length).collect::<Vec<_>>(), [MIB, MIB]);
    // The mapping keeps the address space.
    drop(ioas);
    assert_eq!(mapping.state(), State::LIVE);
    drop(mapping);

    device.revoke(&buffer).unwrap();
    assert_eq!(buffer.query().unwrap().state, BufferState::DEAD);
    let seen: Vec<_> = std::iter::from_fn(|| watch.wait(Duration::from_millis(500)).unwrap())
        .filter(|event| event.buffer.id == info.list_id)
        .map(|event| event.r#type)
        .collect();
    let expected =
        [EventType::CREATED, EventType::REVOKED, EventType::RESTORED, EventType::REVOKED];
    assert_eq!(seen, expected);

    let ioas = iommu.create_ioas().unwrap();
    ioas.attach(&device).unwrap();
    let guest = Guest::new().unwrap();
    guest.add_ioas(&ioas, false).unwrap();
    let assigned =
        guest.add_device(&device, &[Trap { bar: BAR, offset: 0, length: 1 }], 7).unwrap();
    // Over the addresses of interrupts: the rest is mapped.
    assigned.set_bar(BAR, 0xf000_0000).unwrap();
    assigned.set_decoding(true).unwrap();
    assert_eq!(guest.refused(), 1);
    let report = guest.reports().next().unwrap();
    assert_eq!((report.address, report.length, report.data), (0xfee0_0000, MIB, 7));
    assert!(report.why.unwrap().to_string().contains("fee00000"));
    assigned.set_bar(BAR, 0x10_8000_0000).unwrap();
    assert_eq!((guest.refused(), guest.check().unwrap()), (0, 0));
    let mapped = guest.ranges().unwrap();
    let mapped: u64 = mapped
        .iter()
        .filter(|r| r.state == GuestState::MAPPED && r.bar == BAR)
        .map(|r| r.length)
        .sum();
    assert_eq!(mapped, 256 * MIB - 4096);
    // In any order: each keeps what it needs.
    drop((ioas, guest, device, iommu));
    assigned.set_decoding(false).unwrap();
}
