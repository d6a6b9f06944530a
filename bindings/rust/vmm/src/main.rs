// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! A minimal VMM that keeps P2P DMA working: examples/vmm.c in Rust, with the same recording.
//!
//! Two devices are assigned to an imaginary guest: a GPU with memory in BAR 2, and edu, which
//! copies. The guest's writes to the GPU's configuration space are replayed: sizing, placing,
//! moving, decoding off and on, sleep and reset. After each step edu copies a pattern into the GPU's
//! memory, with guest-physical addresses only. The IOMMU stops DMA to where the GPU is not.

mod lab;

use peerbar::{Access, Device, Guest, GuestDevice, Iommu, Result, CONFIG, NOWHERE};

const MIB: u64 = 1 << 20;
const RAM_SIZE: usize = 4 << 20; // the guest's memory, at guest-physical address 0
const SOURCE: usize = 1 << 20; // the pattern's offset in it
const LENGTH: usize = 1024;

const COMMAND: u32 = 0x04;
const BAR0: u32 = 0x10;
const MEMORY: u32 = 0x2; // bits of the command register
const MASTER: u32 = 0x4;

/// A device in the guest's view.
struct Assigned {
    device: Device,
    guest_device: GuestDevice,
    size: [u64; 6],
    wide: [bool; 6], // a 64-bit BAR; the next register has its upper half
    bar: [u32; 6],   // the BAR registers
}

impl Assigned {
    fn new(guest: &Guest, device: Device) -> Result<Assigned> {
        let (mut size, mut wide) = ([0; 6], [false; 6]);
        for i in 0..6 {
            let mut bar = [0; 4];
            size[i] = device.region(i as u32)?.size;
            device.read(CONFIG, u64::from(BAR0) + 4 * i as u64, &mut bar)?;
            wide[i] = size[i] != 0 && u32::from_le_bytes(bar) & 0x6 == 0x4;
        }
        let guest_device = guest.add_device(&device, &[], 0)?;
        Ok(Assigned { device, guest_device, size, wide, bar: [0; 6] })
    }

    /// The guest wrote a BAR register. Only the address bits keep the value; the guest finds the
    /// size by that.
    fn write_bar(&mut self, n: usize, value: u32) -> Result<()> {
        let low = if n > 0 && self.wide[n - 1] { n - 1 } else { n };
        if self.size[low] == 0 {
            return Ok(());
        }
        let mask = !(self.size[low] - 1);
        self.bar[n] = value & if n == low { mask as u32 } else { (mask >> 32) as u32 };
        let mut address = u64::from(self.bar[low]);
        if self.wide[low] {
            address |= u64::from(self.bar[low + 1]) << 32;
        }
        self.guest_device.set_bar(low as u32, address)
    }

    /// The guest wrote the command register. Report decoding off before applying it, on after.
    fn write_command(&mut self, value: u32) -> Result<()> {
        let on = value & MEMORY != 0;
        if !on {
            self.guest_device.set_decoding(false)?;
        }
        self.device.set_decoding(on)?;
        self.device.set_bus_master(value & MASTER != 0)?;
        if on {
            self.guest_device.set_decoding(true)?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        self.guest_device.reset_begin()?;
        self.device.reset()?;
        self.device.set_decoding(false)?;
        self.guest_device.reset_done()?;
        // The guest's view after the reset.
        self.bar = [0; 6];
        for i in (0..6).filter(|&i| self.size[i] != 0) {
            self.guest_device.set_bar(i as u32, NOWHERE)?;
        }
        Ok(())
    }
}

enum Step {
    /// A write to the GPU's configuration space.
    Write(u32, u32),
    Power(bool),
    Reset,
    /// What the state is, and where the GPU is then; P2P is tried.
    Say(&'static str, u64),
}
use Step::{Power, Reset, Say, Write};

const BAR2: u32 = BAR0 + 8;
const FIRST: u64 = 0x10_8000_0000;
const SECOND: u64 = 0x12_0000_0000;

/// The firmware places the BARs. Then the kernel finds decoding on, sizes them with decoding off,
/// and moves them.
const RECORDING: &[Step] = &[
    Say("powered on", NOWHERE),
    Write(BAR2, 0xffffffff),
    Write(BAR2 + 4, 0xffffffff),
    Say("sized by the firmware", NOWHERE),
    Write(BAR2, 0x80000000),
    Write(BAR2 + 4, 0x10),
    Write(COMMAND, MEMORY | MASTER),
    Say("placed by the firmware", FIRST),
    Write(COMMAND, 0),
    Say("decoding off", NOWHERE),
    Write(BAR2, 0xffffffff),
    Write(BAR2, 0x80000000),
    Write(BAR2 + 4, 0xffffffff),
    Write(BAR2 + 4, 0x10),
    Write(COMMAND, MEMORY | MASTER),
    Say("sized by the kernel, decoding on", FIRST),
    Write(BAR2, 0xffffffff),
    Write(BAR2 + 4, 0xffffffff),
    Say("being sized again, while it decodes", NOWHERE),
    Write(BAR2, 0x80000000),
    Write(BAR2 + 4, 0x10),
    Say("the old address back", FIRST),
    Write(BAR2, 0),
    Write(BAR2 + 4, 0x12),
    Say("moved while it decodes", SECOND),
    Power(false),
    Say("in D3", NOWHERE),
    Power(true),
    Say("back in D0", SECOND),
    Reset,
    Say("reset", NOWHERE),
    Write(BAR2, 0x80000000),
    Write(BAR2 + 4, 0x10),
    Say("placed again, not decoding yet", NOWHERE),
    Write(COMMAND, MEMORY | MASTER),
    Say("restored", FIRST),
];

/// Copies to both addresses that the GPU has had: the data must arrive only at the current one.
fn try_p2p(copier: &mut lab::Copier, ram: *mut u8, seed: &mut u8, say: &str, at: u64) -> bool {
    let mut right = true;
    for place in [FIRST, SECOND] {
        let offset = 5 * MIB;
        *seed += 1;
        let pattern: Vec<u8> = (0..LENGTH).map(|i| (i as u8).wrapping_mul(7) ^ *seed).collect();
        // SAFETY: the pattern is inside the guest's memory.
        unsafe { ram.add(SOURCE).copy_from_nonoverlapping(pattern.as_ptr(), LENGTH) };
        let before = lab::faults();
        copier.copy(SOURCE as u64, place + offset, LENGTH);
        let faults = lab::faults() - before;
        if faults != 0 {
            lab::expect_faults(faults);
        }
        let arrived = lab::host_sees(offset, &pattern);
        right = right && arrived == (at == place) && (faults == 0) == arrived;
    }
    let verdict = if right { "ok    " } else { "FAILED" };
    if at == NOWHERE {
        println!("{verdict}  {say:<40} DMA to it is stopped");
    } else {
        println!("{verdict}  {say:<40} DMA reaches it at {at:#x}");
    }
    right
}

/// Prints the reports, as a VMM's event loop would when the guest's descriptor polls readable.
fn hear(guest: &Guest) -> Result<()> {
    guest.sync()?;
    for r in guest.reports() {
        let why = r.why.map_or(String::new(), |error| error.to_string());
        println!("        {} BAR {} at {:#x}: {:?}: {why}", r.bdf, r.bar, r.address, r.state);
    }
    Ok(())
}

fn run() -> Result<usize> {
    // The guest's address space, with all its devices and its memory.
    let iommu = Iommu::open()?;
    let ioas = iommu.create_ioas()?;
    let guest = Guest::new()?;
    guest.add_ioas(&ioas, false)?;
    let mut gpu = Assigned::new(&guest, lab::open(&iommu, 0)?)?;
    let edu = Assigned::new(&guest, lab::open(&iommu, 1)?)?;
    ioas.attach(&gpu.device)?;
    ioas.attach(&edu.device)?;
    let layout = std::alloc::Layout::from_size_align(RAM_SIZE, 4096).expect("a layout");
    // SAFETY: the memory is freed after the mapping is dropped, and used by pointers only.
    let ram = unsafe { std::alloc::alloc_zeroed(layout) };
    let mapping = unsafe { ioas.map_memory(ram, RAM_SIZE as u64, Access::ReadWrite, Some(0))? };
    let mut copier = lab::Copier::new(&edu.device);
    let (mut failed, mut seed) = (0, 0);
    for step in RECORDING {
        match *step {
            Write(COMMAND, value) => gpu.write_command(value)?,
            Write(offset, value) => gpu.write_bar((offset - BAR0) as usize / 4, value)?,
            // This GPU has no D3. A device with D3 needs the write to its register here.
            Power(on) => gpu.guest_device.set_power(on)?,
            Reset => gpu.reset()?,
            Say(say, at) => failed += usize::from(!try_p2p(&mut copier, ram, &mut seed, say, at)),
        }
        hear(&guest)?;
    }
    drop(mapping);
    // SAFETY: no device can reach it any more.
    unsafe { std::alloc::dealloc(ram, layout) };
    Ok(failed)
}

fn main() {
    let failed = run().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(99)
    });
    println!("{failed} steps went wrong");
    std::process::exit(i32::from(failed != 0));
}
