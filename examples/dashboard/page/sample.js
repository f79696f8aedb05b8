// A sample as it comes over the wire: 40 bytes, little-endian, as src/sample.rs has it.

export const SIZE = 40;

export function decode(buffer) {
  const view = new DataView(buffer);
  return {
    number: view.getUint32(0, true),
    sockets: view.getUint32(4, true),
    at: view.getFloat64(8, true),
    machine: view.getFloat32(16, true),
    program: view.getFloat32(20, true),
    load: view.getFloat32(24, true),
    resident: view.getFloat64(32, true) / 1024 / 1024,
  };
}
