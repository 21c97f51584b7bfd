"use strict";
// What the scripts of all pages share.

const $ = (id) => document.getElementById(id);

/** A share in per cent, as minibert/system/numbers.py writes it; its spaces do not break. */
function percent(share) {
  const hundred = 100 * share;
  const written = hundred === 0 || hundred === 100 ? hundred
    : hundred >= 99.95 && hundred < 100 ? ">\u00a099.9"
      : hundred > 0 && hundred < 0.01 ? "<\u00a00.01"
        : hundred.toFixed(hundred >= 9.995 ? 1 : 2);
  return `${written}\u00a0%`;
}
