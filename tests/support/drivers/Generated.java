// The annotation that generated Java code bears, and that no JDK has had since version 11.
package javax.annotation;

public @interface Generated {
    String value();

    String date() default "";

    String comments();
}
