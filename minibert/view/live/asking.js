// The engine in a worker, which is made of the page's own text: a page opened from disk may load
// nothing. The page goes on while it computes.

class Asking {
  /** say(words) is called with the progress of long work. */
  constructor(say) {
    const text = new Blob([$("core").textContent], {type: "text/javascript"});
    this.worker = new Worker(URL.createObjectURL(text));
    this.waiting = new Map();
    this.count = 0;
    this.busy = new Map();  // method -> the values of the call that waits, or null
    this.worker.onmessage = ({data: {id, result, error, said}}) => {
      if (said !== undefined) return say(said);
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      return error === undefined ? resolve(result) : reject(new Error(error));
    };
  }

  ask(method, values = {}) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.count, {resolve, reject});
      this.worker.postMessage({id: this.count, method, values});
    });
  }

  /** Ask, and ask again with the newest values if others came meanwhile; answers go to `use`. */
  async latest(method, values, use, refuse) {
    if (this.busy.has(method)) return void this.busy.set(method, {values, use, refuse});
    this.busy.set(method, null);
    try {
      use(await this.ask(method, values));
    } catch (error) {
      refuse(error);
    }
    const next = this.busy.get(method);
    this.busy.delete(method);
    if (next) this.latest(method, next.values, next.use, next.refuse);
  }
}
