// A zip file of our own (PKWARE's APPNOTE): files one after the other as they are, then a list of them. They bear the
// oldest date that the format knows, so that the same files make the same bytes.
const OLDEST = (1 << 5) | 1;
const IN_UTF8 = 1 << 11;
const VERSION = 20;
const LOCAL = 0x04034b50, LISTED = 0x02014b50, END = 0x06054b50;
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, one) => {
  for (let bit = 0; bit < 8; bit += 1) one = one & 1 ? (one >>> 1) ^ 0xedb88320 : one >>> 1;
  return one;
});
const crc32 = (bytes) => {
  let crc = -1;
  for (const one of bytes) crc = REMAINDERS[(crc ^ one) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
};
const shorts = (...values) => Uint8Array.from(values.flatMap((one) => [one, one >>> 8]));
const longs = (...values) => Uint8Array.from(values.flatMap((one) => [one, one >>> 8, one >>> 16, one >>> 24]));
const sizeOf = (parts) => parts.reduce((sum, one) => sum + one.length, 0);
const zipped = async (files, name) => {
  const [stored, list] = [[], []];
  let offset = 0;
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const path = new TextEncoder().encode(file.name);
    const described = [
      shorts(VERSION, IN_UTF8, 0, 0, OLDEST), longs(crc32(bytes), bytes.length, bytes.length), shorts(path.length, 0),
    ];
    const parts = [longs(LOCAL), ...described, path, bytes];
    list.push(longs(LISTED), shorts(VERSION), ...described, shorts(0, 0, 0), longs(0, offset), path);
    stored.push(...parts);
    offset += sizeOf(parts);
  }
  const end = [longs(END), shorts(0, 0, files.length, files.length), longs(sizeOf(list), offset), shorts(0)];
  return new File([...stored, ...list, ...end], name, { type: "application/zip" });
};
