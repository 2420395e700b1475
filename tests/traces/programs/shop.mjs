class OrderRejected extends Error {}

async function priceOf(article, id, bug) {
  await new Promise((resolve) => setTimeout(resolve, 1));
  if (bug === "number") throw new RangeError(`order ${id} has no amount`);
  return article.price.amount;
}

async function place(id, bug) {
  try {
    return await priceOf({ name: "mate" }, id, bug);
  } catch (error) {
    if (bug === "caused") throw new OrderRejected(`order ${id} cannot be priced`, { cause: error });
    throw error;
  }
}

const [bug, id] = process.argv.slice(2);
if (bug === "rejection") await place(id, bug);
else if (bug === "library") [id].map((each) => JSON.parse("{" + each));
else {
  try {
    await place(id, bug);
  } catch (error) {
    console.error(bug === "caused" ? error : error.stack);
  }
}
