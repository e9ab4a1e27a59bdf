// What the page does: each button calls the API of another origin, and shows the answer.
const api = document.currentScript.dataset.api;
const json = (method, body) => ({
  method,
  credentials: "include", // send the cookie of the API, and keep the one that it sets
  headers: { "Content-Type": "application/json" }, // so the browser asks first: a preflight
  body: JSON.stringify(body),
});
const calls = {
  products: () => fetch(`${api}/products`),
  login: () => fetch(`${api}/session`, json("POST", { user: "ada" })),
  order: () => fetch(`${api}/orders`, json("POST", { item: "tea" })),
  unknown: () => fetch(`${api}/orders`, json("POST", { item: "water" })),
};

async function show(name) {
  const answer = document.querySelector("#answer");
  try {
    const response = await calls[name]();
    answer.textContent = `${name}: ${response.status} ${await response.text()}`;
  } catch (error) {
    answer.textContent = `${name}: the browser keeps the answer to itself`;
  }
}

for (const name of Object.keys(calls)) {
  document.querySelector(`#${name}`).addEventListener("click", () => show(name));
}
