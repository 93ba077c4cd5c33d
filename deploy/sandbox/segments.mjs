// How many parts a text message has: 160 characters of the GSM alphabet or 70 others in
// one, fewer in each of several, because they carry a header.

const BASIC = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
// Each takes an escape in front.
const EXTENDED = new Set('\f^{}\\[~]|€');

export function isGsm(character) {
  return BASIC.has(character) || EXTENDED.has(character);
}

export function segmentCount(text) {
  const characters = [...text];
  if (!characters.every(isGsm)) return parts(text.length, 70, 67);
  return parts(
    characters.reduce((sum, character) => sum + (EXTENDED.has(character) ? 2 : 1), 0),
    160,
    153,
  );
}

function parts(length, single, each) {
  return length <= single ? 1 : Math.ceil(length / each);
}
