// What runs beside the page: it gets {id, method, values} and answers {id, result} or {id, error}.

let engine = null;

const METHODS = {
  open({model, base64}) {
    engine = new Engine(model, ownWeights(base64, model.weights));
    return engine.about();
  },
  async openFiles({model, files}) {
    engine = await engineOfFiles(model, files, (said) => postMessage({said}));
    return engine.about();
  },
  run: (request) => engine.run(request),
  vectors: (request) => engine.vectors(request),
  names: () => engine.names(),
  tensor: ({name}) => engine.tensor(name),
  explain: ({name, index}) => engine.explain(name, index),
};

if (typeof WorkerGlobalScope !== "undefined")
  onmessage = async ({data: {id, method, values}}) => {
    try {
      postMessage({id, result: await METHODS[method](values)});
    } catch (error) {
      postMessage({id, error: error.message});
    }
  };
