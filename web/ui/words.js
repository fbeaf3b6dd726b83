/** Names for fresh rooms: easy to say over a table, unlikely to exist already (1.4 million). */

const FIRST =
  "amber brave bright calm clear copper coral crisp dusty early fern gentle golden green hazel honey ivory jolly " +
  "kind late lemon light little lucky maple mellow misty mossy noble olive plain quiet red silver soft still sunny warm wild windy";
const SECOND =
  "anchor arbour bakery balcony bell bridge cabin candle cove ferry field garden gate harbour heron hill island " +
  "kettle lantern library meadow mill orchard otter pier pond porch river robin sail shore sparrow table tea tower valley veranda wharf willow window";

/** @param {number} below */
const random = (below) => crypto.getRandomValues(new Uint32Array(1))[0] % below;

/** @param {string} words */
const pick = (words) => {
  const list = words.split(" ");
  return list[random(list.length)];
};

/** @returns {string} such as "quiet-harbour-471" */
export const freshRoom = () => `${pick(FIRST)}-${pick(SECOND)}-${random(900) + 100}`;
