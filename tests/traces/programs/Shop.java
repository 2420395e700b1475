import java.util.List;
import java.util.Map;

public class Shop {
    static class OrderRejected extends RuntimeException {
        OrderRejected(String message, Throwable cause) {
            super(message, cause);
        }
    }

    static int priceOf(Map<String, String> prices, String article, String bug) {
        String price = prices.get(article);
        if (bug.equals("number")) {
            return Integer.parseInt(price);
        }
        return price.length();
    }

    static int place(String article, String id, String bug) {
        try {
            return List.of(article).stream().mapToInt(each -> priceOf(Map.of("tea", "4x" + id), each, bug)).sum();
        } catch (RuntimeException error) {
            if (bug.equals("caused")) {
                throw new OrderRejected("order " + id + " cannot be priced", error);
            }
            throw error;
        }
    }

    public static void main(String[] given) {
        place(given[0].equals("number") ? "tea" : "mate", given[1], given[0]);
    }
}
