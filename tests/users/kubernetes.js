// The manifests of tools/deploy against the API's own schemas: usage: kubernetes.js FILE…
// Each file is a stream of YAML documents, as `kubectl kustomize` or `helm template` prints them.
// One line `ok KIND NAME` per document; anything unknown, misspelt or of a wrong type is an error.
'use strict';

const fs = require('fs');
const yaml = require('yaml');

function modelOf(document) {
  return require(`kubernetes-models/${document.apiVersion}`)[document.kind];
}

let bad = 0;
for (const file of process.argv.slice(2)) {
  const documents = yaml.parseAllDocuments(fs.readFileSync(file, 'utf8'));
  if (documents.length === 0) throw new Error(`${file}: no documents`);
  for (const parsed of documents) {
    if (parsed.errors.length) throw parsed.errors[0];
    const document = parsed.toJS();
    if (document === null) continue; // an empty part of a template
    const name = `${document.kind} ${document.metadata && document.metadata.name}`;
    try {
      const Model = modelOf(document);
      new Model(document).validate();
      console.log(`ok ${name}`);
    } catch (error) {
      bad++;
      console.error(`${file}: ${name}: ${error.message}`);
    }
  }
}
process.exit(bad ? 1 : 0);
